"""The serving suite: one run, from the agents to the lines of what was promised and what was measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.config.external_engines import SERVING
from grandopt.config.schema import Job
from grandopt.errors import ConfigError
from grandopt.measurement.environment import crowded, environment
from grandopt.signature import Array
from grandopt.suites.serving import lines
from grandopt.suites.serving.agents import GATE, TACTICAL, shipped, written
from grandopt.suites.serving.contenders import ENGINE, GATE_RIVALS, TACTICAL_RIVALS, Rival
from grandopt.suites.serving.load_lines import under_load
from grandopt.suites.serving.result import ServingBenchmark
from grandopt.suites.serving.rounds import Standing, asked, contestant, raced
from grandopt.suites.serving.wire import (
    CallAlone,
    HitRate,
    LoneTimes,
    PutUnderLoad,
    ReplayTrace,
    ServedAgent,
    UnderLoad,
)
from grandopt.workflows.benchmark.environments import environments
from grandopt.workflows.events import Listener, silent

CALLERS = (64, 8)
TRACE_REQUESTS, TRACE_DIFFERENT, TRACE_EXPONENT, CACHE_ENTRIES = 20_000, 1000, 1.2, 500
"""The trace: requests drawn by Zipf's law, seeded, and a cache for half of the observations there are."""
LONG, LOADED_S = 30, 240.0


@dataclass(frozen=True)
class Setup:
    """How long to measure: `rounds`, each with fresh processes, and `seconds` in each for every way of
    serving and number of callers. `requests` is the length of the trace."""

    rounds: int = 3
    seconds: float = 2.0
    requests: int = TRACE_REQUESTS

    @property
    def long_s(self) -> float:
        """How long the engine is put under more load than it can bear."""
        return LONG * self.seconds

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.seconds > 0 or self.requests < 1:
            raise ConfigError(f"rounds, seconds and requests must be positive, got {self}")


def benchmark_serving(
    job: Job,
    setup: Setup,
    pythons: Mapping[str, Path],
    tell: Callable[[str], None],
    listener: Listener = silent,
) -> ServingBenchmark:
    """Serve two reference agents in every way there is, and hold the engine to what was promised.

    `pythons` are the interpreters of environments with `batched` and `ray`; those that are missing stand in
    the result with how to get them. Raises ConfigError for an interpreter that cannot be used, GrandoptError
    for an agent that cannot be optimized, and MeasurementError when the engine itself fails.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grandopt-")))
        interpreters = stack.enter_context(environments(SERVING, pythons))
        artifacts = shipped(job, (GATE, TACTICAL), folder / "optimized", listener)
        limit = job.profile.limits.relative_l2
        gate, tactical = (written(artifact, limit, folder, job.seed) for artifact in artifacts.values())

        def race(agent: ServedAgent, rivals: tuple[Rival, ...]) -> dict[str, Standing]:
            everybody = (Rival(ENGINE), *rivals)
            found = raced(agent, everybody, CALLERS, setup.seconds, setup.rounds, folder, interpreters, tell)
            return {one.rival.name: one for one in found}

        raced_gate = race(gate, GATE_RIVALS)
        raced_tactical = race(tactical, TACTICAL_RIVALS)
        alone, every = _alone(gate, setup, folder, tell)
        tell(f"{TACTICAL}: a trace through a cache")
        trace = _trace(tactical, setup, folder)
        loaded = {agent.name: _under_load(agent, setup, tell) for agent in (gate, tactical)}
    return ServingBenchmark(
        lines=(
            *lines.promises(raced_gate, alone, every, trace),
            *lines.lone(alone),
            *lines.many(raced_gate),
            *lines.few(raced_gate),
            *lines.long(raced_tactical),
            *(line for agent, found in loaded.items() for line in under_load(agent, found)),
        ),
        contestants=tuple(
            contestant(one, agent)
            for agent, standings in ((gate, raced_gate), (tactical, raced_tactical))
            for one in standings.values()
        ),
        under_load=loaded,
        artifacts={
            name: f"{artifact.manifest.engine}/{artifact.manifest.precision}"
            for name, artifact in artifacts.items()
        },
        rounds=setup.rounds,
        seconds=setup.seconds,
        environment=environment(),
        crowded=crowded(1),
    )


def _alone(
    agent: ServedAgent, setup: Setup, folder: Path, tell: Callable[[str], None]
) -> tuple[list[LoneTimes], Array]:
    """The lone caller of each round, and the nanoseconds of all that was awaited."""
    answers, times = [], []
    for number in range(setup.rounds):
        tell(f"{agent.name}: a lone caller, round {number + 1} of {setup.rounds}")
        answer = asked(CallAlone(agent, setup.seconds, folder))
        answers.append(answer)
        times.append(np.load(answer.infer_all))
    return answers, np.concatenate(times)


def _under_load(agent: ServedAgent, setup: Setup, tell: Callable[[str], None]) -> UnderLoad:
    tell(f"{agent.name}: under load, up to 150 % of what it can bear for {setup.long_s:g} s")
    return asked(
        PutUnderLoad(agent, setup.seconds, setup.rounds, setup.long_s),
        LOADED_S * setup.rounds + 60 * setup.seconds + 3 * setup.long_s,
    )


def _trace(agent: ServedAgent, setup: Setup, folder: Path) -> HitRate:
    weights = np.arange(1, TRACE_DIFFERENT + 1.0) ** -TRACE_EXPONENT
    drawn = np.random.default_rng(0).choice(TRACE_DIFFERENT, setup.requests, p=weights / weights.sum())
    path = folder / "trace.npy"
    np.save(path, drawn)
    return asked(ReplayTrace(agent, path, CACHE_ENTRIES))
