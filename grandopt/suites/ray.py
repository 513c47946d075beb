"""The Ray suite: the decision gate on Ray Serve with our replicas, and as a plain deployment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read
from grandopt.config.schema import Job
from grandopt.errors import ConfigError
from grandopt.measurement.environment import crowded, environment
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.agents import GATE, shipped, written
from grandopt.suites.serving.contenders import Rival
from grandopt.suites.serving.result import Line, ServingBenchmark
from grandopt.suites.serving.rounds import Standing, contestant, raced, times_as_fast
from grandopt.workflows.benchmark.environments import environments
from grandopt.workflows.events import Listener, silent

CALLERS = (64, 1024)
"""Each awaits one observation after the other, all in the event loop of one driver."""
ROUNDS, SECONDS = 3, 2.0
WANTED = 50.0
WAYS = (
    Rival(names.ON_RAY, "ray"),
    Rival(names.ON_RAY_ALONE, "ray", rounds=1),  # nothing is promised of it
    Rival(names.RAY_TWO, "ray"),
    Rival(names.RAY_TWO_FAST, "ray"),
)
"""All with two replicas."""


def benchmark_ray(
    paths: Sequence[Path],
    job: Job,
    pythons: Mapping[str, Path],
    seconds: float,
    tell: Callable[[str], None],
    listener: Listener = silent,
) -> ServingBenchmark:
    """Serve the decision gate in every way for `seconds` per round and number of callers.

    Of `paths` the artifact is taken, without one that below the job's output. Raises ConfigError for another
    agent's artifact and an interpreter that cannot be used, GrandoptError for an agent that cannot be
    optimized.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grandopt-")))
        interpreters = stack.enter_context(environments(("ray",), pythons))
        artifact = _artifact(paths) or shipped(job, (GATE,), folder / "optimized", listener)[GATE]
        gate = written(artifact, job.profile.limits.relative_l2, folder, job.seed)
        found = raced(gate, WAYS, CALLERS, seconds, ROUNDS, folder, interpreters, tell)
    standings = {one.rival.name: one for one in found}
    manifest = artifact.manifest
    return ServingBenchmark(
        lines=tuple(
            _line(standings, other, callers)
            for callers in CALLERS
            for other in (names.RAY_TWO, names.RAY_TWO_FAST)
        ),
        contestants=tuple(contestant(one, gate) for one in found),
        under_load={},
        artifacts={manifest.name: f"{manifest.engine}/{manifest.precision}"},
        rounds=ROUNDS,
        seconds=seconds,
        environment=environment(),
        crowded=crowded(1),
    )


def _artifact(paths: Sequence[Path]) -> Artifact | None:
    if not paths:
        return None
    if len(paths) > 1:
        raise ConfigError(f"--suite ray takes one artifact, got {len(paths)}")
    artifact = read(paths[0])
    if artifact.manifest.name != GATE:
        raise ConfigError(
            f"--suite ray takes an artifact of the reference agent {GATE}, whose original stands beside it; "
            f"{paths[0]} is of {artifact.manifest.name}"
        )
    return artifact


def _line(standings: Mapping[str, Standing], other: str, callers: int) -> Line:
    mine, theirs = standings[names.ON_RAY], standings[other]
    group, text = f"decision_gate on Ray Serve, {callers} callers", f"{names.ON_RAY} ÷ {other}"
    found = times_as_fast(mine, theirs, callers)
    if found is None:
        return Line(group, text, "times", WANTED, True, None, reason=mine.reason or theirs.reason)
    return Line(group, text, "times", WANTED, True, *found, note=theirs.setting or "")
