"""The highest rate that MLPerf LoadGen finds VALID, for TorchScript called directly and for the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from grandopt.config.schema import Job
from grandopt.errors import ConfigError
from grandopt.measurement.environment import Environment, crowded, environment
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.agents import GATE, shipped, written
from grandopt.suites.serving.rounds import asked
from grandopt.suites.serving.wire import LoadgenRun, LoadgenVerdict
from grandopt.workflows.events import Listener, silent

PACKAGE = "mlcommons-loadgen"
DIRECT = names.SCRIPT
ENGINE_WAYS = ("infer_now", "infer")
"""Synchronously in LoadGen's thread, and awaited in an event loop of another one; the better counts."""
LIMIT_S = 1e-3
WANTED = 1.3
STEP, PRECISION = 1.5, 1.04
LOWEST = 500.0
"""Queries a second; a way that is not VALID there is not VALID at all."""
_EXTRA_S = 120.0

Valid = Callable[[float], bool]


@dataclass(frozen=True)
class LoadgenTry:
    """One run: the rate that was asked for, and LoadGen's verdict."""

    rate: float
    verdict: LoadgenVerdict


@dataclass(frozen=True)
class WayTested:
    """One way of serving: the highest rate that was VALID twice (None: none was), and all runs in order."""

    way: str
    highest: float | None
    runs: tuple[LoadgenTry, ...]


@dataclass(frozen=True)
class LoadgenBenchmark:
    """All of it; `ratio` is the engine's better way over TorchScript, None where one has no VALID rate."""

    agent: str
    artifact: str
    limit_s: float
    seconds: float
    ways: tuple[WayTested, ...]
    better: str | None
    ratio: float | None
    wanted: float
    version: str
    crowded: bool
    environment: Environment

    @property
    def met(self) -> bool:
        """Whether the ratio is what was wanted."""
        return self.ratio is not None and self.ratio >= self.wanted


def benchmark_loadgen(
    job: Job, seconds: float, start: float, tell: Callable[[str], None], listener: Listener = silent
) -> LoadgenBenchmark:
    """Search the highest VALID rate of each way, runs of `seconds` one at a time, from `start` on.

    Raises ConfigError where LoadGen is not installed, GrandoptError for an agent that cannot be optimized,
    and MeasurementError for a wrong answer or a run that fails.
    """
    version = loadgen_version()
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        artifact = shipped(job, (GATE,), folder / "optimized", listener)[GATE]
        agent = written(artifact, job.profile.limits.relative_l2, folder, job.seed)
        ways = []
        for way in (DIRECT, *ENGINE_WAYS):
            runs: list[LoadgenTry] = []

            def valid(rate: float, way: str = way, runs: list[LoadgenTry] = runs) -> bool:
                logs = folder / f"{way}-{len(runs)}"
                logs.mkdir()
                request = LoadgenRun(way, agent, rate, seconds, LIMIT_S, logs)
                verdict = asked(request, 4 * seconds + _EXTRA_S)
                runs.append(LoadgenTry(rate, verdict))
                said = "VALID" if verdict.valid else "INVALID"
                tell(f"{way}: {rate:.0f}/s {said}, p99 {1e6 * verdict.p99_s:.0f} µs")
                return verdict.valid

            ways.append(WayTested(way, highest_valid(valid, start), tuple(runs)))
    direct, *engine = ways
    best = max((way for way in engine if way.highest), key=lambda way: way.highest or 0.0, default=None)
    return LoadgenBenchmark(
        agent=GATE,
        artifact=f"{artifact.manifest.engine}/{artifact.manifest.precision}",
        limit_s=LIMIT_S,
        seconds=seconds,
        ways=tuple(ways),
        better=None if best is None else best.way,
        ratio=best.highest / direct.highest if best and best.highest and direct.highest else None,
        wanted=WANTED,
        version=version,
        crowded=crowded(1),
        environment=environment(),
    )


def highest_valid(valid: Valid, start: float) -> float | None:
    """The highest rate found valid twice, within 4 %: up or down by half from `start` on, then between.

    None where not even the lowest rate is. An invalid run counts as it is: nothing is tried until it passes.
    """
    low, high = start, start
    if valid(start):
        while valid(high := low * STEP):
            low = high
    else:
        while not valid(low := high / STEP):
            high = low
            if low < LOWEST:
                return None
    while high / low > PRECISION:
        middle = (low * high) ** 0.5
        if valid(middle):
            low = middle
        else:
            high = middle
    while not valid(low):
        low /= PRECISION
        if low < LOWEST:
            return None
    return low


def loadgen_version() -> str:
    """The installed version; raises ConfigError where there is none."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(f"{PACKAGE} is not installed; pip install {PACKAGE}") from error
