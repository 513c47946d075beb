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
from grandopt.measurement.load.saturation import CALLERS, throughput
from grandopt.measurement.load.settings import LoadSettings
from grandopt.measurement.statistics import SAMPLES_NEEDED, percentile, too_few
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load as load_artifact
from grandopt.runtime.scheduling.request import Priority
from grandopt.runtime.scheduling.stats import BatcherStats
from grandopt.signature import Array
from grandopt.suites.serving.wire import LoadPoint, PutUnderLoad, ServedAgent, SteadyRound, UnderLoad
from grandopt.suites.serving.worker.bare import bare_latencies
from grandopt.suites.serving.worker.closed_loop import check
from grandopt.suites.serving.worker.engine import PROFILE
from grandopt.suites.serving.worker.expected import artifacts

STEADY, FRACTIONS, ABOVE = 0.7, (0.9, 1.0), 1.5
"""Of saturation; the first in rounds, the last for longer."""
MIX = {int(Priority.NORMAL): 0.9, int(Priority.CRITICAL): 0.1}
DEADLINES = 10.0
"""The deadline is so many times what an unloaded request and the largest batch take together at p99."""
GENEROUS_S = 5.0
"""The deadline while saturation is measured."""
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
        stats = engine.stats().agents[name]
        if stats.batches is None or stats.cost is None:
            raise MeasurementError(f"profile {PROFILE} served {name} without batches")
        batches, batch_s = stats.batches, stats.cost.of(stats.batches.settings.limit) / 1e9
        alone = await _alone(load)
        deadline = DEADLINES * (float(np.percentile(alone.latency_ns(), 99)) / 1e9 + batch_s)
        points = _Points(engine, name, load, (await load.closed(CALLERS)).achieved, deadline, request)
        rounds = []
        for number in range(request.rounds):
            alone = await _alone(load) if number else alone
            point = await points.measure(STEADY)
            bare = _bare(request.agent, expected.observations, point, batches)
            rounds.append(SteadyRound(_seconds(alone.latency_ns(), 99.0), point, _seconds(bare, 99.0)))
        found, looks = [], _Looks(engine, name, request.long_s)
        if not request.steady_alone:
            found = [await points.measure(part) for part in FRACTIONS]
            found.append(await points.measure(ABOVE, request.long_s, looks))
    return UnderLoad(
        deadline_s=deadline,
        batch_s=batch_s,
        steady=tuple(rounds),
        points=tuple(found),
        grown_bytes=looks.grown(),
        deepest=max(looks.depths, default=0),
        bound=batches.settings.queue_rows,
    )


class _Points:
    """Measures points, each right after what was sustained for as long: how fast a shared machine is changes
    from minute to minute."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        load: ConcurrentLoad,
        guess: float,
        deadline_s: float,
        request: PutUnderLoad,
    ) -> None:
        self._engine, self._name, self._load = engine, name, load
        self._saturation = guess
        self._deadline_s = deadline_s
        self._request = request
        self._patient, self._settings = load.target, load.settings

    async def measure(
        self, part: float, seconds: float | None = None, looks: _Looks | None = None
    ) -> LoadPoint:
        """A point at a part of saturation, for `seconds` or as long as its percentiles need."""
        load, request = self._load, self._request
        lasts = min(max(request.seconds, REQUESTS / (part * self._saturation)), request.long_s)
        load.settings, load.target = replace(self._settings, seconds=lasts), self._patient
        self._saturation = saturation = await throughput(load, self._saturation)
        load.target = _target(self._engine, self._name, self._deadline_s)
        load.settings = replace(load.settings, seconds=seconds or lasts, grace_s=self._deadline_s + 1.0)
        looking = None if looks is None else asyncio.create_task(looks.look())
        try:
            return await _point(
                part, saturation, load, self._deadline_s, partial(_missed, self._engine, self._name)
            )
        finally:
            load.target, load.settings = self._patient, self._settings
            if looking is not None:
                looking.cancel()


def _bare(
    agent: ServedAgent,
    observations: Sequence[Array],
    point: LoadPoint,
    batches: BatcherStats,
) -> Array:
    """The rate of a point at bare threads that call the artifact, as many as there are workers."""
    workers, seconds, saturation = batches.concurrency, point.requests / point.rate, point.saturation
    with closing(load_artifact(agent.artifact, trust=True)) as executor:
        return bare_latencies(
            executor, observations, point.rate, seconds, workers=workers, saturation=saturation
        )


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
    fraction: float, saturation: float, load: ConcurrentLoad, deadline_s: float, missed: Callable[[], int]
) -> LoadPoint:
    before = missed()
    result = await load.at(fraction * saturation)
    answered = result.counted & (result.outcomes == Outcome.ANSWERED)
    taken = result.ended_ns - result.started_ns
    critical = taken[answered & (result.priorities == Priority.CRITICAL)]
    refusals = result.refusal_ns()
    return LoadPoint(
        fraction=fraction,
        saturation=saturation,
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
