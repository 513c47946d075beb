"""Writing artifacts so that a kill at any moment leaves a complete one: the old or the new.

A new artifact is prepared in a hidden folder beside its place and renamed into it. An existing one gets
the new payload files beside the old (their names hold their content, see `artifact.py`), then the new
manifest by one rename, and only then loses the old payload. Everything is fsynced before the rename that
makes it visible. Left-overs of killed writers are told from living ones by a file lock, which the kernel
drops with its process, and are removed by the next writer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from grandopt.artifacts.artifact import MANIFEST_NAME, Artifact, describe, is_plain_name, read, stored_name
from grandopt.artifacts.manifest import Manifest
from grandopt.errors import ArtifactError, OutputError

_STORED = re.compile(r".+-(?P<digest>[0-9a-f]{16})(\.[^.]+)?")
_UNFINISHED_FILE = re.compile(r"\.[0-9a-f]{16}\.unfinished")


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Write an artifact into `folder`, atomically, and return it.

    The manifest's `payload` is filled in from `files`. A missing folder is made, an artifact that lies there
    is replaced; other files of the user in it stay. Concurrent writers are safe: one of them wins.
    Raises OutputError when the place cannot be written or holds something that is not an artifact.
    """
    folder = Path(os.path.realpath(folder))
    for name in files:
        if not is_plain_name(name):
            raise OutputError(f"payload name {name!r} must be a plain file name")
    payload = tuple(describe(*item) for item in files.items())
    encoded = manifest.model_copy(update={"payload": payload}).model_dump_json(indent=2)
    manifest = Manifest.model_validate_json(encoded)  # as every later reader will see it
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; an artifact is a folder, choose another place")
        if not _create(folder, manifest, files):
            _replace(folder, manifest, files)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    return Artifact(folder, manifest)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of an existing folder; waits for its present holder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> bool:
    """Make a folder that does not exist or is empty; False when there is one with something in it."""
    if _occupied(folder):
        return False
    with locked(folder.parent):
        _remove_left_over_folders(folder)
        unfinished = folder.parent / f".{folder.name}.{secrets.token_hex(8)}.unfinished"
        unfinished.mkdir()
        descriptor = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        for entry in manifest.payload:
            _write_file(unfinished / stored_name(entry), files[entry.name])
        _write_file(unfinished / MANIFEST_NAME, _encoded(manifest))
        _sync_folder(unfinished)
        try:
            unfinished.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False  # another writer was first
        _sync_folder(folder.parent)
        return True
    finally:
        os.close(descriptor)
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already after the rename


def _replace(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    with locked(folder):
        try:
            old = read(folder)
        except ArtifactError as error:
            raise OutputError(
                f"{folder}: holds something else and is not overwritten ({error}); choose another folder "
                f"or empty this one"
            ) from error
        for path in folder.iterdir():
            if _UNFINISHED_FILE.fullmatch(path.name):
                path.unlink()
        for entry in manifest.payload:
            _write_file_atomically(folder / stored_name(entry), files[entry.name])
        _sync_folder(folder)
        _write_file_atomically(folder / MANIFEST_NAME, _encoded(manifest))
        _sync_folder(folder)
        kept = {stored_name(entry) for entry in manifest.payload}
        replaced = {stored_name(entry) for entry in old.manifest.payload}
        for path in folder.iterdir():
            if path.name not in kept and (path.name in replaced or _is_stored_payload(path)):
                path.unlink()


def _occupied(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _remove_left_over_folders(folder: Path) -> None:
    """Remove what killed writers of `folder` left beside it. The parent's lock must be held."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.unfinished")
    for path in folder.parent.iterdir():
        if not pattern.fullmatch(path.name) or not path.is_dir():
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # renamed into place by its living writer
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        except (BlockingIOError, FileNotFoundError):  # its writer lives
            continue
        finally:
            os.close(descriptor)


def _is_stored_payload(path: Path) -> bool:
    """Whether the name holds the file's own digest: then a killed writer of ours left it, not the user."""
    match = _STORED.fullmatch(path.name)
    if match is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(match["digest"])


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_file_atomically(path: Path, content: bytes) -> None:
    unfinished = path.parent / f".{secrets.token_hex(8)}.unfinished"
    try:
        _write_file(unfinished, content)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encoded(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(indent=2) + "\n").encode()
