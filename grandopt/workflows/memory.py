"""What the memory parts are worth on this machine: pools by size, and the tail of a server's answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.store import Store
from grandopt.errors import ConfigError
from grandopt.measurement.process import WorkerProcess, save_inputs
from grandopt.measurement.statistics import SAMPLES_NEEDED, percentile
from grandopt.runtime.memory.worth import SizeTime, Worth
from grandopt.signature import Array
from grandopt.verification.inputs import ring

WORKER = "grandopt.measurement.serving_worker"
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
    worth: Worth


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
    flavour: str
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
            for kind in ("array", "buffer", "tensor"):
                for live in (1, 4):
                    tell(f"pool of {kind}s, {live} held at a time")
                    pools.append(_pool(kind, live, sizes))
            observations = ring(artifact.manifest.parsed_signature(), count=OBSERVATIONS, seed=seed)
            job = {
                "kind": "tail",
                "artifact": str(artifact.path.absolute()),
                "trust": trust,
                "ring": save_inputs(observations, folder),
                "times": str(folder / "times.npy"),
                "sessions": setup.sessions,
                "recent": setup.recent,
                "burst": setup.burst,
                "calls": setup.calls,
            }
            return MemoryBenchmark(tuple(pools), _tail(job, artifact.manifest.name, setup, tell))


def _pool(kind: str, live: int, sizes: Sequence[int]) -> PoolRow:
    options = {"sizes": sizes, "live": live, "rounds": 15, "max_seconds": 20.0}
    answer = _asked({"kind": "pool", "blocks": kind, "options": options})
    times = tuple(SizeTime(**row) for row in answer["times"])
    return PoolRow(kind, live, Worth(answer["pays_from"], answer["reason"], times))


@contextmanager
def _agent(path: Path | None, folder: Path, tell: Callable[[str], None]) -> Iterator[Artifact]:
    if path is not None:
        yield read(path)
        return
    tell("building the agent")
    import torch

    from grandopt.compiler.build import Candidate, build
    from grandopt.compiler.capture.export import capture
    from grandopt.compiler.checkpoints.memory import from_module
    from grandopt.compiler.networks.serving_agent import STATE, ServingAgent
    from grandopt.config.schema import NativeOptions

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ServingAgent().eval().requires_grad_(False)
    program = capture(from_module("serving_agent", network, (torch.zeros(1, STATE),)), 0)
    store = Store(folder / "store")
    try:
        yield build(program, Candidate("float32", NativeOptions()), store)
    finally:
        store.close()


def _tail(job: dict[str, Any], agent: str, setup: TailSetup, tell: Callable[[str], None]) -> Tail:
    answers: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    samples: dict[bool, list[Array]] = {False: [], True: []}
    for number in range(setup.processes):
        # Each kind is first as often as it is second.
        for collector in (False, True) if number % 2 == 0 else (True, False):
            tell(f"serving, {'collector' if collector else 'defaults'}, process {number + 1}")
            answers[collector].append(_asked({**job, "collector": collector}))
            samples[collector].append(np.load(job["times"], allow_pickle=False))
    defaults = _arm("Python's defaults", answers[False], samples[False])
    tuned = _arm("collector", answers[True], samples[True])
    every = [*answers[False], *answers[True]]
    return Tail(
        agent=agent,
        agent_s=float(np.median([answer["agent_ns"] for answer in every])) / 1e9,
        flavour=every[0]["flavour"],
        tracked=every[0]["tracked"],
        per_request=every[0]["per_request"],
        setup=setup,
        defaults=defaults,
        collector=tuned,
        ratio=defaults.percentiles[f"{TAIL:g}"] / tuned.percentiles[f"{TAIL:g}"],
        ratios=tuple(
            percentile(plain, TAIL) / percentile(other, TAIL)
            for plain, other in zip(samples[False], samples[True], strict=True)
        ),
    )


def _arm(name: str, answers: list[dict[str, Any]], samples: list[Array]) -> Arm:
    pooled = np.concatenate(samples)
    rows = [row for answer in answers for row in answer["collections"]]
    amid, idle = ([row for row in rows if row["idle"] is kind] for kind in (False, True))
    return Arm(
        name=name,
        samples=int(pooled.size),
        percentiles={f"{percent:g}": percentile(pooled, percent) / 1e9 for percent in PERCENTS},
        longest=float(pooled.max()) / 1e9,
        thresholds=tuple(answers[0]["thresholds"]),
        collections=sum(row["count"] for row in amid),
        collecting_s=sum(row["seconds"] for row in amid),
        idle_collections=sum(row["count"] for row in idle),
        idle_s=sum(row["seconds"] for row in idle),
        interrupted=sum(answer["interrupted"] for answer in answers),
    )


def _asked(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a fresh process."""
    worker = WorkerProcess(1, WORKER)
    try:
        return worker.ask(job, _TIMEOUT_S)
    finally:
        worker.close()
