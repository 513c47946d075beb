"""Writing a folder of files so that a kill at any moment leaves a complete one: the old or the new.

A new folder is prepared hidden beside its place and renamed into it. An existing one gets the new files
beside the old, then its head (the file that names the others) by one rename, and only then loses the old
files. Files are named after their content (`<stem>-<first 16 digits of the SHA-256><suffix>`), so old and
new never collide. Everything is fsynced before the rename that makes it visible. Left-overs of killed
writers are told from living ones by a file lock, which the kernel drops with its process, and are removed by
the next writer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STORED = re.compile(r".+-(?P<digest>[0-9a-f]{16})(\.[^.]+)?")
_UNFINISHED_FILE = re.compile(r"\.[0-9a-f]{16}\.unfinished")


@dataclass(frozen=True)
class Content:
    """What a folder is to hold: `files` by content-addressed name, and the `head` that makes them valid."""

    head_name: str
    head: bytes
    files: Mapping[str, bytes]


def write_folder(folder: Path, content: Content, present: Callable[[], Collection[str]]) -> None:
    """Put `content` into `folder`, which is made if it is missing; files of the user in it stay.

    When something is in it already, `present` is called under the folder's lock: it returns the names of the
    files that its present head stands for, or raises to keep the folder as it is. Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _occupied(folder) or not _create(folder, content):
        _replace(folder, content, present)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of an existing folder; waits for its present holder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(folder: Path, content: Content) -> bool:
    """Make a folder that does not exist or is empty; False when another writer was first."""
    with locked(folder.parent):
        _remove_left_over_folders(folder)
        unfinished = folder.parent / f".{folder.name}.{secrets.token_hex(8)}.unfinished"
        unfinished.mkdir()
        descriptor = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        for name, data in content.files.items():
            _write_file(unfinished / name, data)
        _write_file(unfinished / content.head_name, content.head)
        _sync_folder(unfinished)
        try:
            unfinished.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        _sync_folder(folder.parent)
        return True
    finally:
        os.close(descriptor)
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already after the rename


def _replace(folder: Path, content: Content, present: Callable[[], Collection[str]]) -> None:
    with locked(folder):
        old = present()
        for path in folder.iterdir():
            if _UNFINISHED_FILE.fullmatch(path.name):
                path.unlink()
        for name, data in content.files.items():
            write_file_atomically(folder / name, data)
        _sync_folder(folder)
        write_file_atomically(folder / content.head_name, content.head)
        _sync_folder(folder)
        for path in folder.iterdir():
            kept = path.name == content.head_name or path.name in content.files
            if not kept and (path.name in old or _is_named_after_its_content(path)):
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


def _is_named_after_its_content(path: Path) -> bool:
    """Whether a killed writer of ours left the file, and not the user."""
    match = _STORED.fullmatch(path.name)
    if match is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(match["digest"])


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_file_atomically(path: Path, content: bytes) -> None:
    """Write one file so that `path` always holds the old content or the new, whole."""
    while True:
        unfinished = path.parent / f".{secrets.token_hex(8)}.unfinished"
        with unfinished.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it has its name: see `remove_left_over_files`
            if not os.fstat(file.fileno()).st_nlink:
                continue  # removed before it was locked
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                unfinished.rename(path)
                return
            finally:
                unfinished.unlink(missing_ok=True)


def put_file(path: Path, content: bytes) -> None:
    """`write_file_atomically`, durable when it returns; what killed writers left in the folder is removed."""
    remove_left_over_files(path.parent)
    write_file_atomically(path, content)
    _sync_folder(path.parent)


def copy_folder(source: Path, folder: Path) -> None:
    """Copy a folder of files to a place where nobody looks yet; durable when it returns. Raises OSError."""
    folder.mkdir(parents=True)
    for item in sorted(source.iterdir()):
        if item.is_file():
            _write_file(folder / item.name, item.read_bytes())
    _sync_folder(folder)


def remove_left_over_files(folder: Path) -> None:
    """Remove the unfinished files of killed writers in a folder; those of living ones are locked."""
    for path in folder.iterdir():
        if not _UNFINISHED_FILE.fullmatch(path.name):
            continue
        with suppress(FileNotFoundError):  # finished meanwhile
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
