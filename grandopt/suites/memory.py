"""What the memory parts are worth on this machine: pools by size, and the tail of a server's answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.store import Store
from grandopt.errors import ConfigError
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.statistics import SAMPLES_NEEDED, percentile
from grandopt.measurement.wire.arrays import load_outputs, save_inputs
from grandopt.measurement.wire.codec import AnswerT, Request
from grandopt.measurement.wire.serving import BlocksKind, CalibratePool, ServeTail, TailTimes
from grandopt.runtime.memory.break_even import PoolBreakEven
from grandopt.signature import Array
from grandopt.verification.inputs import ring

WORKER = "grandopt.measurement.worker.serving_main"
SIZES = tuple(1 << power for power in range(14, 27, 2))
"""Bytes: 16 KiB to 64 MiB."""
PERCENTS = (50.0, 90.0, 99.0, 99.9)
TAIL = 99.9
OBSERVATIONS = 256
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class TailSetup:
    """What is served in each process: `sessions` long-living sessions in the heap, `recent` requests that
    stay reachable, an idle moment after every `burst` of requests. `processes` of each kind, in turns."""

    processes: int = 3
    calls: int = 20_000
    sessions: int = 75_000
    recent: int = 64
    burst: int = 50

    def __post_init__(self) -> None:
        if min(self.processes, self.sessions, self.recent, self.burst) < 1:
            raise ConfigError(f"every number of a serving run must be at least 1, got {self}")
        needed = SAMPLES_NEEDED[TAIL]
        if self.calls < needed:
            raise ConfigError(f"a p99.9 needs {needed} calls in each process, got {self.calls}")


@dataclass(frozen=True)
class PoolRow:
    """One kind of memory, with `live` pieces held at a time: what was measured and decided."""

    kind: str
    live: int
    break_even: PoolBreakEven


@dataclass(frozen=True)
class Arm:
    """Requests answered with one kind of collection, the raw samples of all processes pooled.

    Times are in seconds. `collections` and `collecting_s` are amid the requests, `idle_collections` and
    `idle_s` at idle moments, `interrupted` counts how often the system let something else run; all are sums.
    """

    name: str
    samples: int
    percentiles: Mapping[str, float]
    longest: float
    thresholds: tuple[int, ...]
    collections: int
    collecting_s: float
    idle_collections: int
    idle_s: float
    interrupted: int


@dataclass(frozen=True)
class Tail:
    """The tail with Python's defaults and with the collector.

    `ratio` is the first p99.9 divided by the second, `ratios` the same of each pair of processes alone.
    """

    agent: str
    agent_s: float
    gc_kind: str
    tracked: int
    per_request: int
    setup: TailSetup
    defaults: Arm
    collector: Arm
    ratio: float
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class MemoryBenchmark:
    """All of it."""

    pools: tuple[PoolRow, ...]
    tail: Tail


def benchmark_memory(
    path: Path | None,
    setup: TailSetup,
    tell: Callable[[str], None],
    *,
    sizes: Sequence[int] = SIZES,
    trust: bool = False,
    seed: int = 0,
) -> MemoryBenchmark:
    """Measure pools and the serving tail, every figure in fresh processes, one at a time.

    The agent is the artifact at `path`; without one, a policy whose native call takes about 20 µs is built.
    Raises ArtifactError for an artifact that cannot be used, BuildError where none can be built, and
    MeasurementError when a process fails.
    """
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        with _agent(path, folder, tell) as artifact:
            pools = []
            kinds: tuple[BlocksKind, ...] = get_args(BlocksKind)
            for kind in kinds:
                for live in (1, 4):
                    tell(f"pool of {kind}s, {live} held at a time")
                    pools.append(_pool(kind, live, sizes))
            observations = ring(artifact.manifest.parsed_signature(), count=OBSERVATIONS, seed=seed)
            request = ServeTail(
                artifact=artifact.path.absolute(),
                trust=trust,
                ring=save_inputs(observations, folder),
                times=folder / "times.npy",
                sessions=setup.sessions,
                recent=setup.recent,
                burst=setup.burst,
                calls=setup.calls,
                collector=False,
            )
            return MemoryBenchmark(tuple(pools), _tail(request, artifact.manifest.name, setup, tell))


def _pool(kind: BlocksKind, live: int, sizes: Sequence[int]) -> PoolRow:
    return PoolRow(kind, live, _asked(CalibratePool(kind, tuple(sizes), live, rounds=15, max_seconds=20.0)))


@contextmanager
def _agent(path: Path | None, folder: Path, tell: Callable[[str], None]) -> Iterator[Artifact]:
    if path is not None:
        yield read(path)
        return
    tell("building the agent")
    import torch

    from grandopt.compiler.build import Candidate, build
    from grandopt.compiler.capture.export import capture
    from grandopt.compiler.checkpoints.module.memory import from_module
    from grandopt.compiler.networks.serving_agent import STATE, ServingAgent
    from grandopt.config.engines import NativeOptions

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ServingAgent().eval().requires_grad_(False)
    program = capture(from_module("serving_agent", network, (torch.zeros(1, STATE),)), 0)
    store = Store(folder / "store")
    try:
        yield build(program, Candidate("float32", NativeOptions()), store)
    finally:
        store.close()


def _tail(request: ServeTail, agent: str, setup: TailSetup, tell: Callable[[str], None]) -> Tail:
    answers: dict[bool, list[TailTimes]] = {False: [], True: []}
    samples: dict[bool, list[Array]] = {False: [], True: []}
    for number in range(setup.processes):
        # Each kind is first as often as it is second.
        for collector in (False, True) if number % 2 == 0 else (True, False):
            tell(f"serving, {'collector' if collector else 'defaults'}, process {number + 1}")
            answers[collector].append(_asked(replace(request, collector=collector)))
            samples[collector] += load_outputs(request, [request.times])
    defaults = _arm("Python's defaults", answers[False], samples[False])
    tuned = _arm("collector", answers[True], samples[True])
    every = [*answers[False], *answers[True]]
    return Tail(
        agent=agent,
        agent_s=float(np.median([answer.agent_ns for answer in every])) / 1e9,
        gc_kind=every[0].gc_kind,
        tracked=every[0].tracked,
        per_request=every[0].per_request,
        setup=setup,
        defaults=defaults,
        collector=tuned,
        ratio=defaults.percentiles[f"{TAIL:g}"] / tuned.percentiles[f"{TAIL:g}"],
        ratios=tuple(
            percentile(plain, TAIL) / percentile(other, TAIL)
            for plain, other in zip(samples[False], samples[True], strict=True)
        ),
    )


def _arm(name: str, answers: list[TailTimes], samples: list[Array]) -> Arm:
    pooled = np.concatenate(samples)
    rows = [row for answer in answers for row in answer.collections]
    amid, idle = ([row for row in rows if row.idle is kind] for kind in (False, True))
    return Arm(
        name=name,
        samples=int(pooled.size),
        percentiles={f"{percent:g}": percentile(pooled, percent) / 1e9 for percent in PERCENTS},
        longest=float(pooled.max()) / 1e9,
        thresholds=answers[0].thresholds,
        collections=sum(row.count for row in amid),
        collecting_s=sum(row.seconds for row in amid),
        idle_collections=sum(row.count for row in idle),
        idle_s=sum(row.seconds for row in idle),
        interrupted=sum(answer.interrupted for answer in answers),
    )


def _asked(request: Request[AnswerT]) -> AnswerT:
    """The answer of a fresh process."""
    with closing(WorkerProcess(1, WORKER)) as worker:
        return worker.ask(request, _TIMEOUT_S)
