"""C text → shared object: finds a compiler, runs it, and says what went wrong."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grandopt.errors import BuildError, EngineUnavailableError

FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",  # sqrtf and others become instructions; errno is not read
    "-fno-trapping-math",  # no one reads the exception flags either
    "-ffp-contract=fast",  # a·b + c may be one rounding
    "-fno-strict-aliasing",  # the arena holds values of different types, one after another
    "-fwrapv",  # whole numbers wrap, as in ATen
    "-Wno-psabi",
)
"""Flags of every build. None of -ffast-math, -ffinite-math-only, -march=native: NaN and infinity keep their
meaning, and the CPU features are those of the level."""

REALTIME_FLAGS = (*FLAGS, "-fno-stack-protector")
"""Those of agents under the real-time contract, which call nothing of the C library but memcpy and memset."""
REALTIME_LINKING = ("-Wl,-z,now",)
"""How their libraries are linked: what they call is found when they are loaded, not in the first call."""

TIMEOUT_S = 600.0
"""For a compiler that hangs. Not one that shares a busy machine: 10 s of its work can then take minutes."""

ZIG = (sys.executable, "-m", "ziglang", "cc")


@dataclass(frozen=True)
class Compiler:
    """A C compiler: how it is called, and the first line of its `--version`."""

    command: tuple[str, ...]
    version: str

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """Run it in `folder`; raises BuildError with the first error line when it fails."""
        done = _call([*self.command, *arguments], folder)
        if done.returncode != 0:
            raise BuildError(f"{shlex.join(self.command)} failed: {_first_error(done.stderr)}")

    def archive(self, objects: Sequence[str], library: str, folder: Path) -> None:
        """Make a static library of object files in `folder`; raises BuildError when the archiver fails."""
        command = (*_archiver(self.command), "rcsD", library, *objects)  # D: no times, equal bytes
        done = _call(command, folder)
        if done.returncode != 0:
            raise BuildError(f"{shlex.join(command)} failed: {_first_error(done.stderr)}")


@functools.cache
def _archiver(compiler: tuple[str, ...]) -> tuple[str, ...]:
    """The archiver that comes with a compiler."""
    if compiler[-2:] == ZIG[-2:]:
        return (*compiler[:-1], "ar")
    done = _call([*compiler, "-print-prog-name=ar"], Path.cwd())
    found = done.stdout.strip() if done.returncode == 0 else ""
    return (found or "ar",)


def find_compiler() -> Compiler:
    """$CC, gcc, clang, cc, or the compiler of the package `ziglang`, whichever comes first.

    Raises EngineUnavailableError when there is none, BuildError when $CC is set but does not run.
    """
    return _find(os.environ.get("CC", ""), os.environ.get("PATH", ""))


@functools.cache
def _find(wanted: str, path: str) -> Compiler:
    if wanted:
        return probe(tuple(shlex.split(wanted)))
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name, path=path):
            return probe((name,))
    if importlib.util.find_spec("ziglang") is not None:
        return probe(ZIG)
    raise EngineUnavailableError(
        "no C compiler found: install gcc or clang, set CC, or `pip install ziglang`",
        remedy="pip install ziglang",
    )


def probe(command: tuple[str, ...]) -> Compiler:
    """The compiler that `command` calls; raises BuildError when it does not run."""
    done = _call([*command, "--version"], Path.cwd())
    if done.returncode != 0 or not done.stdout.strip():
        raise BuildError(f"C compiler {shlex.join(command)} does not run: {_first_error(done.stderr)}")
    return Compiler(command, done.stdout.splitlines()[0].strip())


def _call(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except OSError as error:
        raise BuildError(f"C compiler {command[0]} cannot be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"C compiler {command[0]} took longer than {TIMEOUT_S:.0f} s") from error


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed no message"])[0]
