"""The engine below, at and above its saturation: Poisson arrivals, one in ten of the class CRITICAL.

Requests are made in the engine's own event loop, as they are in a program that uses it: at saturation making
them takes a part of the same processor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import psutil

from grandopt.errors import MeasurementError
from grandopt.measurement.load import timing
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.saturation import saturation
from grandopt.measurement.load.settings import LoadSettings
from grandopt.measurement.statistics import SAMPLES_NEEDED, percentile, too_few
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load as load_artifact
from grandopt.runtime.scheduling.request import Priority
from grandopt.runtime.scheduling.stats import BatcherStats
from grandopt.signature import Array
from grandopt.suites.serving.wire import LoadPoint, PutUnderLoad, ServedAgent, UnderLoad
from grandopt.suites.serving.worker.bare import bare_latencies
from grandopt.suites.serving.worker.closed_loop import check
from grandopt.suites.serving.worker.engine import PROFILE
from grandopt.suites.serving.worker.expected import artifacts

FRACTIONS, ABOVE = (0.7, 0.9, 1.0), 1.5
"""Of saturation; the last for longer."""
MIX = {int(Priority.NORMAL): 0.9, int(Priority.CRITICAL): 0.1}
DEADLINES = 10.0
"""The deadline is so many times what an unloaded request and the largest batch take together at p99."""
GENEROUS_S = 5.0
"""The deadline while saturation is searched."""
REQUESTS = 7500
"""Of a point, at least: of those that are CRITICAL, a p99 needs 662."""
LOOKS = 40
"""At memory and queue, during the point above saturation."""


def put_under_load(request: PutUnderLoad) -> UnderLoad:
    """All points, one after the other, on one engine."""
    return timing.run(_measured(request))


async def _measured(request: PutUnderLoad) -> UnderLoad:
    expected = artifacts(request.agent)
    engine = Engine()
    await engine.initialize(PROFILE)
    async with engine:
        name = engine.load(request.agent.artifact, trust=True)
        await check(lambda one: engine.infer(name, one), expected, 64)
        settings = LoadSettings(seconds=request.seconds, priorities=MIX)
        # Requests with a deadline go another way than those without: all here have one.
        load = ConcurrentLoad(_target(engine, name, GENEROUS_S), expected.observations, settings)
        alone = await _alone(load)
        rate = (await saturation(load)).rate
        stats = engine.stats().agents[name]
        if stats.batches is None or stats.cost is None:
            raise MeasurementError(f"profile {PROFILE} served {name} without batches")
        batch_s = stats.cost.of(stats.batches.settings.limit) / 1e9
        deadline = DEADLINES * (float(np.percentile(alone.latency_ns(), 99)) / 1e9 + batch_s)
        load.target = _target(engine, name, deadline)
        points: list[LoadPoint] = []
        missed = partial(_missed, engine, name)
        for part in FRACTIONS:
            seconds = min(max(request.seconds, REQUESTS / (part * rate)), request.long_s)
            load.settings = replace(settings, seconds=seconds, grace_s=deadline + 1.0)
            points.append(await _point(part, part * rate, load, deadline, missed))
            if part == FRACTIONS[0]:  # right after it: how fast the machine is changes from minute to minute
                bare = _bare(request.agent, expected.observations, part * rate, seconds, stats.batches, rate)
        load.settings = replace(load.settings, seconds=request.long_s)
        looks = _Looks(engine, name, request.long_s)
        looking = asyncio.create_task(looks.look())
        points.append(await _point(ABOVE, ABOVE * rate, load, deadline, missed))
        looking.cancel()
    return UnderLoad(
        saturation=rate,
        deadline_s=deadline,
        batch_s=batch_s,
        alone_p99_s=_seconds(alone.latency_ns(), 99.0),
        bare_p99_s=_seconds(bare, 99.0),
        points=tuple(points),
        grown_bytes=looks.grown(),
        deepest=max(looks.depths, default=0),
        bound=stats.batches.settings.queue_rows,
    )


def _bare(
    agent: ServedAgent,
    observations: Sequence[Array],
    rate: float,
    seconds: float,
    batches: BatcherStats,
    saturation: float,
) -> Array:
    """The same rate at bare threads that call the artifact, as many as there are workers."""
    workers = batches.concurrency
    with closing(load_artifact(agent.artifact, trust=True)) as executor:
        return bare_latencies(executor, observations, rate, seconds, workers=workers, saturation=saturation)


async def _alone(load: ConcurrentLoad) -> LoadResult:
    """One caller, for as long as a p99 needs."""
    settings = load.settings
    found = await load.closed(1)
    if found.achieved and too_few(found.latency_ns().size, 99.0):
        load.settings = replace(settings, seconds=1.2 * SAMPLES_NEEDED[99.0] / found.achieved)
        found = await load.closed(1)
        load.settings = settings
    return found


def _target(engine: Engine, name: str, deadline_s: float) -> Callable[[Array, int, int], Awaitable[Any]]:
    """A request whose deadline is counted from when it is made, as `infer` counts it."""

    def target(observation: Array, priority: int, _: int) -> Awaitable[Any]:
        return engine.infer(name, observation, priority=priority, deadline_s=deadline_s)

    return target


class _Looks:
    """What is seen of memory and queue now and then."""

    def __init__(self, engine: Engine, name: str, seconds: float) -> None:
        self.depths: list[int] = []
        self._resident: list[int] = []
        self._engine, self._name = engine, name
        self._every = seconds / LOOKS

    async def look(self) -> None:
        process = psutil.Process()
        while True:
            await asyncio.sleep(self._every)
            batches = self._engine.stats().agents[self._name].batches
            self.depths.append(0 if batches is None else batches.depth)
            self._resident.append(process.memory_info().rss)

    def grown(self) -> int:
        half = len(self._resident) // 2
        first, second = self._resident[:half], self._resident[half:]
        return max(0, max(second) - max(first)) if first else 0


def _missed(engine: Engine, name: str) -> int:
    """How many requests were let in and then told that their deadline cannot be met, until now."""
    batches = engine.stats().agents[name].batches
    return 0 if batches is None else batches.missed


async def _point(
    fraction: float, rate: float, load: ConcurrentLoad, deadline_s: float, missed: Callable[[], int]
) -> LoadPoint:
    before = missed()
    result = await load.at(rate)
    answered = result.counted & (result.outcomes == Outcome.ANSWERED)
    taken = result.ended_ns - result.started_ns
    critical = taken[answered & (result.priorities == Priority.CRITICAL)]
    refusals = result.refusal_ns()
    return LoadPoint(
        fraction=fraction,
        rate=result.rate or 0.0,
        kept_up=result.kept_up,
        goodput=float((answered & (taken <= deadline_s * 1e9)).sum()) / result.seconds,
        p50_s=_seconds(result.latency_ns(), 50.0),
        p99_s=_seconds(result.latency_ns(), 99.0),
        critical_p99_s=_seconds(critical, 99.0),
        requests=result.count(),
        refused=int(refusals.size),
        let_in=missed() - before,
        refused_p50_s=_seconds(refusals, 50.0),
        refused_p99_s=_seconds(refusals, 99.0),
        failed=result.count(Outcome.FAILED),
        lost=result.count(Outcome.LOST),
    )


def _seconds(nanoseconds: Array, percent: float) -> float | None:
    return None if too_few(nanoseconds.size, percent) else percentile(nanoseconds, percent) / 1e9
