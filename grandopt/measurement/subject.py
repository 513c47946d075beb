"""A subject of measuring: an artifact on disk, under the name that its figures will carry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.wire.loadable import Loadable


@dataclass(frozen=True)
class Subject:
    """An artifact on disk, under the name that its figures will carry.

    `trust` lets the loader open an artifact whose payload must be unpickled. `loader` is the
    "module:callable" that opens this one in the place of the pool's, for engines that make something of
    their own out of the artifact. `interpreter` is the Python that runs it where that is another one.
    """

    label: str
    path: Path
    trust: bool = False
    loader: str | None = None
    interpreter: Interpreter | None = None

    @property
    def artifact_bytes(self) -> int:
        """Size on disk in bytes: of the file, or of all files below the folder."""
        if self.path.is_dir():
            return sum(item.stat().st_size for item in self.path.rglob("*") if item.is_file())
        return self.path.stat().st_size

    def loadable(self, loader: str) -> Loadable:
        """What a worker is told of it, its path absolute; `loader` opens it where it has none of its own."""
        return Loadable(self.label, self.path.absolute(), self.trust, self.loader or loader)
