"""A folder that machines share, such as one on NFS."""

from __future__ import annotations

import errno
from pathlib import Path

from grandopt.artifacts.fleet.base import LARGEST, Place, PlaceError, ReadOnlyError
from grandopt.artifacts.regular import read_regular
from grandopt.artifacts.writing import write_file_atomically
from grandopt.errors import ConfigError

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class FolderPlace(Place):
    """Parcels as files, each written beside its place and renamed into it. The folder must be there: one that
    is not may be a share that is not mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = str(folder)

    def check(self) -> None:
        if not self._folder.is_dir():
            what = "is no folder" if self._folder.exists() else "no such folder"
            raise ConfigError(f"--store {self.name}: {what}; make it, or mount what should be there")
        try:
            next(self._folder.iterdir(), None)
        except OSError as error:
            raise ConfigError(f"--store {self.name}: cannot be read: {error.strerror}") from error

    def get(self, name: str) -> bytes | None:
        try:
            return read_regular(self._folder / name, LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PlaceError(f"{self.name}: {name} cannot be read: {error.strerror}") from error

    def put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            write_file_atomically(path, content)
        except OSError as error:
            kind = ReadOnlyError if error.errno in READ_ONLY else PlaceError
            raise kind(f"{self.name}: cannot be written: {error.strerror}") from error
