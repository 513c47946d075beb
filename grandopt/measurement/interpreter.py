"""Another interpreter for workers: for an engine that needs other libraries than this Python has."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grandopt.errors import MeasurementError

OLDEST = (3, 11)
"""The oldest Python that grandopt's own code runs in."""

_TIMEOUT_S = 60.0
_PROBE = """
import json, sys
from importlib import metadata
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python executable, the folder from which it can import grandopt's source (and nothing else of this
    environment), and the versions of Python and of the libraries that were asked for and that it has."""

    executable: Path
    library: Path
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)


@contextmanager
def interpreter(executable: Path, libraries: Sequence[str] = ()) -> Iterator[Interpreter]:
    """The interpreter at `executable`, with a copy of grandopt for as long as the block lasts.

    Raises MeasurementError when it is not there, is no Python, is too old, or has no numpy.
    """
    versions = _versions(executable, ["numpy", *libraries])
    if tuple(int(part) for part in versions["python"].split(".")[:2]) < OLDEST:
        raise MeasurementError(
            f"{executable} is Python {versions['python']}; {OLDEST[0]}.{OLDEST[1]} or newer is needed there"
        )
    if "numpy" not in versions:
        raise MeasurementError(f"{executable} has no numpy; install it there")
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        # A copy, because the folder of an installed package holds its neighbours, too: this Python's torch
        # would hide the other's.
        library = Path(name)
        package = Path(__file__).parents[1]
        shutil.copytree(package, library / "grandopt", ignore=shutil.ignore_patterns("__pycache__"))
        yield Interpreter(executable, library, versions)


def _versions(executable: Path, libraries: Sequence[str]) -> dict[str, str]:
    try:
        done = subprocess.run(
            [str(executable), "-I", "-c", _PROBE, *libraries],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise MeasurementError(f"{executable} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"{executable} did not say its version within {_TIMEOUT_S:g} s") from error
    try:
        found = json.loads(done.stdout)
        return {str(name): str(version) for name, version in found.items() if found["python"]}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise MeasurementError(f"{executable} does not answer like a Python interpreter: {last}") from error
