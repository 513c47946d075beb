"""A subject of measuring: an artifact on disk, under the name that its figures will carry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.artifacts.artifact import is_artifact, read, stored_name
from grandopt.artifacts.manifest import CARRIED
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
        """Size on disk in bytes: of the file, or of all files below the folder.

        The program that an artifact carries for exports is not counted: no call needs it.
        """
        if not self.path.is_dir():
            return self.path.stat().st_size
        whole = sum(item.stat().st_size for item in self.path.rglob("*") if item.is_file())
        payload = read(self.path).manifest.payload if is_artifact(self.path) else ()
        carried = [self.path / stored_name(entry) for entry in payload if entry.name == CARRIED]
        return whole - sum(item.stat().st_size for item in carried)

    def loadable(self, loader: str) -> Loadable:
        """What a worker is told of it, its path absolute; `loader` opens it where it has none of its own."""
        return Loadable(self.label, self.path.absolute(), self.trust, self.loader or loader)
