"""The store of built artifacts, so that nothing is built twice; what was found out about them lies beside.

Entries are artifacts (one folder per build key) and notes (one file per key, with its own digest). Where a
size limit is set, those that were used longest ago make room for new ones; what a living process has used
is in its lease and stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read, write
from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.lease import KeyLease, leased
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.signing.requirement import OWN_BUILD
from grandopt.artifacts.writing import locked, write_file_atomically
from grandopt.errors import ArtifactError, OutputError

NOTES = ".notes"
LEASES = ".leases"


@dataclass(frozen=True)
class Store:
    """Artifacts under `root`, found by the key of their build (see `compiler.build.key`), and notes.

    Several processes may use one root at once. An entry never changes once it is there. `limit_bytes` is
    what all entries may take together; None is no limit. What this object has given or taken is in use until
    `close`, or the end of the process. With a `fleet`, what is not here is looked for there, and kept here.
    """

    root: Path
    limit_bytes: int | None = None
    fleet: FleetStore | None = None
    _lease: list[KeyLease] = field(default_factory=list, repr=False, compare=False)

    def get(self, key: str) -> Artifact | None:
        """The artifact of this key with an intact payload, or None; a damaged entry is removed."""
        artifact = self._own(key)
        found = self.fleet.build(key) if artifact is None and self.fleet is not None else None
        return artifact if found is None else self.put(key, *found)

    def share(self, key: str) -> None:
        """Give the fleet the artifact of this key, where there is one, and a fleet that has none."""
        artifact = None if self.fleet is None else self._own(key)
        if artifact is not None and self.fleet is not None:
            self.fleet.put_build(key, artifact.manifest, artifact.payloads())

    def _own(self, key: str) -> Artifact | None:
        folder = self._folder(key)
        if not folder.exists():
            return None
        with self._lock():
            artifact = _intact(folder)
            if artifact is None and folder.exists():
                shutil.rmtree(folder)
            if artifact is not None:
                self._use(key)
                _touch(folder)
        return artifact

    def put(self, key: str, manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
        """Store an artifact under `key` and return it; where one is there already, return that one.

        Raises OutputError when the store cannot be written.
        """
        folder = self._folder(key)
        with self._lock():
            artifact = _intact(folder) if folder.exists() else None
            if artifact is None:
                if folder.exists():
                    shutil.rmtree(folder)
                artifact = write(folder, manifest, files)
            self._use(key)
            self._make_room()
            return artifact

    def note(self, key: str, *, shared: bool = False) -> bytes | None:
        """What was noted under `key`, or None; a damaged note is removed. With `shared`, what another machine
        of the fleet noted where there is none of this one."""
        body = self._own_note(key)
        return self.fleet.note(key) if body is None and shared and self.fleet is not None else body

    def _own_note(self, key: str) -> bytes | None:
        path = self._note(key)
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            digest, body = content[:32], content[32:]
            if hashlib.sha256(body).digest() == digest:
                _touch(path)
                return body
            path.unlink()
        return None

    def put_note(self, key: str, body: bytes, *, shared: bool = False) -> None:
        """Note something under `key`, in the place of what was there, and for the fleet where it is `shared`;
        raises OutputError."""
        path = self._note(key)
        with self._lock():
            path.parent.mkdir(exist_ok=True)
            write_file_atomically(path, hashlib.sha256(body).digest() + body)
            self._make_room()
        if shared and self.fleet is not None:
            self.fleet.put_note(key, body)

    def close(self) -> None:
        """Say that nothing is in use any more. Calling it twice is allowed; so is using it again, without the
        fleet."""
        if self.fleet is not None:
            self.fleet.close()
        while self._lease:
            self._lease.pop().close()

    def _use(self, key: str) -> None:
        if not self._lease:
            self._lease.append(KeyLease(self.root / LEASES))
        self._lease[0].add(key)

    def _make_room(self) -> None:
        """Remove what was used longest ago until the limit holds; the lock must be held."""
        if self.limit_bytes is None:
            return
        entries = [
            path
            for folder in (self.root, self.root / NOTES)
            if folder.is_dir()
            for path in folder.iterdir()
            if not path.name.startswith(".")
        ]
        sizes = {path: _size(path) for path in entries}
        total = sum(sizes.values())
        if total <= self.limit_bytes:
            return
        kept = leased(self.root / LEASES)
        for path in sorted(entries, key=lambda path: path.stat().st_mtime_ns):
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            total -= sizes[path]
            if total <= self.limit_bytes:
                return

    def _folder(self, key: str) -> Path:
        return self.root / _checked(key)

    def _note(self, key: str) -> Path:
        return self.root / NOTES / _checked(key)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        # A folder of its own: writing an artifact locks the root itself for a moment.
        folder = self.root / ".lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                yield
        except OSError as error:
            raise OutputError(f"{self.root}: the store cannot be used: {error.strerror}") from error


def _checked(key: str) -> str:
    if not key or not key.isalnum() or not key.isascii():
        raise OutputError(f"store key {key!r} must hold letters and digits only")
    return key


def _intact(folder: Path) -> Artifact | None:
    try:
        artifact = read(folder, OWN_BUILD)
        artifact.verify()
    except ArtifactError:
        return None
    return artifact


def _touch(path: Path) -> None:
    with suppress(PermissionError):  # a store that may only be read keeps its order
        os.utime(path)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
