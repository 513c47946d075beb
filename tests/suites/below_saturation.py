"""The serving suite's line of the p99 at 70 % alone: `python -m tests.suites.below_saturation ARTIFACT...`.

Artifacts are those of reference agents, as `grandopt optimize --agent NAME` leaves them under `artifacts/`.
Each is put under load as the suite does it, in a fresh process and in three rounds, which takes half a minute
for decision_gate and about one for tactical_embedder. A program, not a test: it prints what it found, which
other work on the machine decides if there is any.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grandopt.artifacts.artifact import read
from grandopt.config.profiles import PROFILES
from grandopt.suites.serving.agents import written
from grandopt.suites.serving.load_lines import below_saturation
from grandopt.suites.serving.rounds import asked
from grandopt.suites.serving.suite import LOADED_S, Setup
from grandopt.suites.serving.wire import PutUnderLoad


def measure(path: Path, folder: Path, setup: Setup) -> str:
    """One agent's line, in words."""
    artifact = read(path)
    agent = written(artifact, PROFILES["aggressive"].limits.relative_l2, folder)
    request = PutUnderLoad(agent, setup.seconds, setup.rounds, setup.long_s, steady_alone=True)
    found = asked(request, LOADED_S * setup.rounds)
    line = below_saturation(agent.name, found)
    value = "no figure" if line.value is None else f"{line.value:.2f} {line.unit}"
    build = f"{artifact.manifest.engine}/{artifact.manifest.precision}"
    rounds = "".join(
        f"\n  alone p99 {_us(one.alone_p99_s)}, at 70 % p50 {_us(one.point.p50_s)}, "
        f"p99 {_us(one.point.p99_s)}, bare p99 {_us(one.bare_p99_s)}"
        for one in found.steady
    )
    return (
        f"{line.group} ({build}): {line.text}: {value}, wanted at most {line.target:g}; {line.note}{rounds}"
    )


def _us(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{1e6 * seconds:.0f} µs"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for argument in sys.argv[1:]:
            sys.stdout.write(measure(Path(argument), Path(scratch), Setup()) + "\n")
            sys.stdout.flush()
