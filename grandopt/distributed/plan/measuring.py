"""What a replica's work takes, measured through an engine that serves it, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.artifacts.artifact import Artifact, read
from grandopt.distributed.plan.replica import Burst, Replica
from grandopt.distributed.plan.stalls import watch
from grandopt.errors import MeasurementError
from grandopt.measurement.load.base import rows
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.settings import LoadSettings
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.scheduling.calibration import BatchCost, measure_cost
from grandopt.verification.inputs import ring

SIZES = (1, 4, 16, 64, 256)
LONGEST_NS = 150e6
"""Larger bursts, by what smaller ones took, are left out; each size is measured for two of these."""
LEAST, MOST = 7, 400
"""Bursts of a size."""
HANDLING_NS = 8_000.0
"""What a request is taken to cost beside its computing until that is measured, to space the first bursts."""
APART = 2.0
"""Bursts begin so many times as far from each other as one takes."""
TRIES = 4


async def measure_replica(
    path: Path,
    profile: str,
    *,
    trust: bool = False,
    concurrency: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Replica:
    """Serve the artifact at `path` by an engine of `profile`, and measure it for some seconds.

    `concurrency` is how many workers compute where any do; as many as the engine finds to pay without it.

    Requests come from the same event loop, in bursts whose distance the engine can keep up with: the last
    answer of n that came together is there after what n requests take, the callers' own work included.
    Raises an InputError for an artifact that cannot be loaded, MeasurementError where nothing is answered.
    """
    artifact = read(path)
    engine = Engine()
    await engine.initialize(profile)
    async with engine:
        name = engine.load(artifact.path, trust=trust, concurrency=concurrency)
        served = engine.served(name)
        batcher = served.batcher
        cost = batcher.cost if batcher is not None else measure_cost(served.version.executor)
        workers = 1 if batcher is None else batcher.workers.size
        tell("watching for the machine's stalls, and measuring bursts of requests through the engine")
        before = await asyncio.to_thread(watch)
        inline = batcher is None or batcher.workers.kind == "inline"
        with _turning(asyncio.get_running_loop(), on=not inline):
            bursts = await _bursts(asking(engine, name), observations(artifact, seed), cost, workers)
        stalls = before + await asyncio.to_thread(watch)
        return Replica(
            agent=artifact.manifest.name,
            digest=artifact.manifest.digest,
            engine=artifact.manifest.engine,
            precision=artifact.manifest.precision,
            profile=profile,
            kind="inline" if served.choice is None else served.choice.kind,
            workers=workers,
            limit=1 if batcher is None else batcher.settings.limit,
            cost=cost,
            bursts=bursts,
            stalls=stalls,
        )


@contextmanager
def _turning(loop: asyncio.AbstractEventLoop, *, on: bool) -> Iterator[None]:
    """Let the loop go round without rest within this block, as one does that requests keep coming to: what
    it takes from workers beside it, of their core or of the interpreter's lock, is theirs to bear."""

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)

    task = loop.create_task(turn()) if on else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


def asking(engine: Engine, name: str) -> Callable[[Any, int, int], Awaitable[Any]]:
    """What the load generator calls."""
    return lambda observation, priority, deadline_ns: engine.infer(name, *observation)


def observations(artifact: Artifact, seed: int) -> Sequence[Any]:
    """Drawn ones that fit the artifact, 256 at least."""
    return rows(ring(artifact.manifest.parsed_signature(), samples=None, seed=seed))


async def _bursts(
    target: Callable[[Any, int, int], Awaitable[Any]],
    ring_rows: Sequence[Any],
    cost: BatchCost,
    workers: int,
) -> tuple[Burst, ...]:
    load = ConcurrentLoad(target, ring_rows, LoadSettings(warmup_s=0.0, grace_s=5.0))
    found: list[Burst] = []
    for size in SIZES:
        expected = cost.of(size) + HANDLING_NS * size
        if found:
            expected = max(found[-1].last_ns * size / found[-1].rows, 1.0)
        if expected > LONGEST_NS and size > workers:
            break
        found.append(await _burst(load, size, expected))
    return tuple(found)


async def _burst(load: ConcurrentLoad, size: int, expected: float) -> Burst:
    """Bursts of one size; again, further apart, where they met each other."""
    gap = APART * expected + 50_000
    for _ in range(TRIES):
        count = int(min(MOST, max(LEAST, 2 * LONGEST_NS / gap)))
        due = np.repeat(np.round(np.arange(count) * gap), size).astype(np.int64)
        result = await load.replay(due)
        if (result.ended_ns < 0).any() or result.errors:
            raise MeasurementError(
                f"of {due.size} requests not all were answered ({result.first_error or 'too slow'})"
            )
        latency = (result.ended_ns - result.due_ns).reshape(count, size)[count // 5 :]
        last = float(np.median(latency.max(axis=1)))
        if last < gap * 0.8:
            return Burst(size, float(np.median(latency.min(axis=1))), last)
        gap = APART * last
    raise MeasurementError(f"bursts of {size} requests took longer each time; the machine is too busy")
