"""Packages beside the tests' own, each set in a folder of its own.

Nothing that Python imports here by itself changes. Versions are pinned, and what is installed is what is
listed and nothing else, because such packages ask for other versions of what is here.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

LIMIT_S = 300


class Environment(NamedTuple):
    """One set: `family` is the folder below this Python's own that it is in."""

    family: str
    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is, or would be: named by what is in it."""
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:12]
        return Path(sys.prefix) / self.family / f"{self.name}-{digest}"

    @property
    def is_there(self) -> bool:
        return self.folder.is_dir()

    def installed(self) -> str:
        """Install it unless it is there; what happened, in words."""
        target = self.folder
        if target.is_dir():
            return "there"
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            options = (
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--target",
                f"{made}/{self.name}",
            )
            try:
                subprocess.run(
                    [sys.executable, "-m", "pip", "install", *options, *self.packages],
                    check=True,
                    timeout=LIMIT_S,
                    capture_output=True,
                    text=True,
                )
            except (subprocess.SubprocessError, OSError) as error:
                said = str(getattr(error, "stderr", None) or error).strip().splitlines()
                return f"not installed: {said[-1] if said else type(error).__name__}"
            shutil.move(f"{made}/{self.name}", target)
        return "installed"

    def variables(self, *more: Path) -> dict[str, str]:
        """The environment variables of a program that imports from it, and from the folders `more`."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_CORE"))}
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, (self.folder, *more))), "OMP_NUM_THREADS": "1"}


def install(environments: Mapping[str, Environment], description: str) -> None:
    """The command of a family: install all, or those named on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(environments))
    for name in parser.parse_args().names or environments:
        print(f"{name}: {environments[name].installed()}", flush=True)
