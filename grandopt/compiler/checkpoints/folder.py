"""A folder that is one agent: its files, each opened and read within the limits, none outside of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grandopt import limits
from grandopt.compiler.checkpoints import files
from grandopt.errors import CheckpointError

DEEPEST = 8
"""Folders within one another that are looked into."""


class Folder:
    """The files of the folder at `path`, by their names relative to it, with "/" between the parts.

    Raises CheckpointError for a folder that cannot be listed, or that holds more than any agent needs. A link
    to a folder is not followed; one to a file is, where that lies inside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()
        self.names = tuple(sorted(self._listed()))

    def _listed(self) -> Iterator[str]:
        shown, count = limits.shortened(self.path), 0

        def refuse(error: OSError) -> None:
            raise CheckpointError(f"{shown}: cannot be listed ({error.strerror})") from error

        for place, folders, names in os.walk(self.path, onerror=refuse):
            inner = Path(place).relative_to(self.path)
            count += len(folders) + len(names)
            if count > limits.MEMBERS or len(inner.parts) > DEEPEST:
                raise CheckpointError(
                    f"{shown}: holds more than {limits.MEMBERS:,} files, or folders more than {DEEPEST} "
                    f"levels deep; name the folder of one agent"
                )
            yield from ((inner / name).as_posix() for name in names)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def file(self, name: str) -> Path:
        """The path of the file of that name; raises CheckpointError for one missing, or a link to outside."""
        if name not in self.names:
            raise CheckpointError(f"{limits.shortened(self.path)}: {name!r} is missing from it")
        path = self.path / name
        if not path.resolve().is_relative_to(self._root):
            raise CheckpointError(
                f"{limits.shortened(path)}: is a link that leads out of the folder; put a copy of the file "
                f"there"
            )
        return path

    def content(self, name: str, largest: int = limits.CHECKPOINT_BYTES) -> bytes:
        """The bytes of a file of the folder; raises CheckpointError, in one line, where there are none."""
        return files.content(self.file(name), largest)

    def document(self, name: str, largest: int = limits.CONFIG_BYTES) -> dict[str, Any]:
        """The JSON object in a file of the folder; raises CheckpointError, in one line, where none is."""
        shown = limits.shortened(self.path / name)
        try:
            found = limits.document(self.content(name, largest))
        except ValueError as error:
            raise CheckpointError(f"{shown}: is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{shown}: holds no JSON object, but a {type(found).__name__}")
        return found

    def everything(self) -> dict[str, bytes]:
        """The bytes of all its files; raises CheckpointError where they come to more than the limit."""
        found: dict[str, bytes] = {}
        left = limits.CHECKPOINT_BYTES
        for name in self.names:
            found[name] = self.content(name, left)
            left -= len(found[name])
        return found


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a checkpoint: of the file, or of the names and digests of all files in a folder.

    Raises CheckpointError where one of them cannot be read.
    """
    if not path.is_dir():
        return files.sha256(path)
    digest, folder = hashlib.sha256(), Folder(path)
    for name in folder.names:
        digest.update(f"{name}\0{hashlib.sha256(folder.content(name)).hexdigest()}\n".encode())
    return digest.hexdigest()


def size(path: Path) -> int:
    """Bytes of a checkpoint: of the file, or of all files in a folder; raises like `sha256`."""
    if not path.is_dir():
        return path.stat().st_size
    folder = Folder(path)
    return sum(folder.file(name).stat().st_size for name in folder.names)
