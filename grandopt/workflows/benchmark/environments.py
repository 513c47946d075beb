"""The interpreters of external engines that need an environment of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path

from grandopt.config.external_engines import LIBRARIES
from grandopt.errors import ConfigError, MeasurementError
from grandopt.measurement.interpreter import Interpreter, interpreter


@contextmanager
def environments(names: Sequence[str], pythons: Mapping[str, Path]) -> Iterator[Mapping[str, Interpreter]]:
    """The interpreters of those of `names` that have one: the one in `pythons`, else this one if it has all
    that the engine needs.

    Raises ConfigError for an interpreter that cannot be used, or that lacks a library.
    """
    found: dict[str, Interpreter] = {}
    with ExitStack() as stack:
        for name in names:
            executable = pythons.get(name)
            if executable is None and name in LIBRARIES and all(map(_is_here, LIBRARIES[name])):
                executable = Path(sys.executable)
            if executable is not None:
                found[name] = stack.enter_context(_environment(name, executable))
        yield found


@contextmanager
def _environment(name: str, executable: Path) -> Iterator[Interpreter]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(interpreter(executable, LIBRARIES[name]))
        except MeasurementError as error:
            raise ConfigError(f"--rival {name}={executable}: {error}") from error
        for library in LIBRARIES[name]:
            if library not in found.versions:
                raise ConfigError(
                    f"--rival {name}={executable}: {library} is not installed there; "
                    f"{executable} -m pip install {library}"
                )
        yield found


def _is_here(library: str) -> bool:
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        return False
    return True
