"""The store of built artifacts: one folder per build key, so that nothing is built twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read, write
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.writing import locked
from grandopt.errors import ArtifactError, OutputError


@dataclass(frozen=True)
class Store:
    """Artifacts under `root`, found by the key of their build (see `compiler.build.key`).

    Several processes may use one root at once. An entry never changes once it is there.
    """

    root: Path

    def get(self, key: str) -> Artifact | None:
        """The artifact of this key with an intact payload, or None; a damaged entry is removed."""
        folder = self._folder(key)
        if not folder.exists():
            return None
        artifact = _intact(folder)
        if artifact is None:
            with self._lock():
                artifact = _intact(folder)
                if artifact is None and folder.exists():
                    shutil.rmtree(folder)
        return artifact

    def put(self, key: str, manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
        """Store an artifact under `key` and return it; where one is there already, return that one.

        Raises OutputError when the store cannot be written.
        """
        folder = self._folder(key)
        with self._lock():
            artifact = _intact(folder) if folder.exists() else None
            if artifact is not None:
                return artifact
            if folder.exists():
                shutil.rmtree(folder)
            return write(folder, manifest, files)

    def _folder(self, key: str) -> Path:
        if not key or not key.isalnum() or not key.isascii():
            raise OutputError(f"store key {key!r} must hold letters and digits only")
        return self.root / key

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


def _intact(folder: Path) -> Artifact | None:
    try:
        artifact = read(folder)
        artifact.payloads()
    except ArtifactError:
        return None
    return artifact
