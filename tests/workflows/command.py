"""`grandopt` and the artifacts it wrote, each in a process of its own, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jsonschema
import numpy as np

from grandopt.artifacts.artifact import read
from grandopt.reporting.report import Report, load_report
from grandopt.reporting.schema import shipped_schema
from grandopt.signature import Array

# The console script, in a process that cannot import Stable-Baselines3 even where it is installed.
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(("stable_baselines3", "sb3_contrib", "gymnasium", "gym")))
from grandopt.cli.app import main
sys.exit(main())
"""

ANSWER = """
import sys
import numpy as np
import grandopt
from grandopt.artifacts.artifact import read

for line in sys.stdin.read().splitlines():
    artifact, observations, results = line.split("\\t")
    policy = grandopt.load(artifact, trust=read(__import__("pathlib").Path(artifact)).manifest.trusted_only)
    with np.load(observations) as file:
        found = policy(*(file[name] for name in file.files))
    np.savez(results, *(found if isinstance(found, tuple) else (found,)))
"""


def command(*args: str | Path) -> list[str]:
    """The command line of `grandopt ARGS`."""
    return [sys.executable, "-c", PROGRAM, *map(str, args)]


def run(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """`grandopt ARGS` in `folder`, to its end."""
    return subprocess.run(
        command(*args), cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )


def start(folder: Path, *args: str | Path, stderr: IO[Any] | None = None) -> subprocess.Popen[bytes]:
    """`grandopt ARGS` in `folder`, running, in a process group of its own."""
    return subprocess.Popen(
        command(*args), cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    )


def report(folder: Path) -> Report:
    """The report below `folder`, after checking it against the JSON Schema of the package."""
    path = folder / "reports" / "optimization_report.json"
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), shipped_schema())
    return load_report(path)


def artifacts(folder: Path) -> list[Path]:
    """All artifacts below `folder`; each must be complete. Hidden folders are those not yet finished."""
    place = folder / "artifacts"
    found = [path for path in place.iterdir() if not path.name.startswith(".")] if place.is_dir() else []
    for path in found:
        read(path).payloads()
    return sorted(found)


def answers(
    folder: Path, observations: Mapping[str, Sequence[Array]], scratch: Path
) -> dict[str, list[Array]]:
    """What the artifacts below `folder` answer, by name, loaded and called in one fresh process."""
    lines = []
    for name, arrays in observations.items():
        asked, answered = scratch / f"{name}.in.npz", scratch / f"{name}.out.npz"
        np.savez(asked, *arrays)
        lines.append(f"{folder / 'artifacts' / name}\t{asked}\t{answered}")
    subprocess.run([sys.executable, "-c", ANSWER], input="\n".join(lines), text=True, check=True, cwd=folder)
    results = {}
    for name in observations:
        with np.load(scratch / f"{name}.out.npz") as file:
            results[name] = [file[key] for key in file.files]
    return results
