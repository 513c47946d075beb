"""An agent called by nobody else: what the engine adds to the artifact's own call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load
from grandopt.suites.serving.wire import CallAlone, LoneTimes
from grandopt.suites.serving.worker.engine import PROFILE
from grandopt.suites.serving.worker.expected import Expected, artifacts

FEWEST_ROUNDS = 4
"""The first of them warms up."""
WAYS = ("direct", "infer_now", "infer", "batch")

Times = list[int]


def call_alone(request: CallAlone) -> LoneTimes:
    """All ways in turns, in the opposite order in every other round; all answers of the first are checked."""
    return asyncio.run(_called(request))


async def _called(request: CallAlone) -> LoneTimes:
    expected = artifacts(request.agent)
    policy = load(request.agent.artifact, trust=True)
    engine = Engine()
    await engine.initialize(PROFILE)
    taken = {way: list[Times]() for way in WAYS}
    async with engine:
        name = engine.load(request.agent.artifact, trust=True)
        end, rounds = time.perf_counter() + request.seconds, 0
        while rounds < FEWEST_ROUNDS or time.perf_counter() < end:
            for way in WAYS if rounds % 2 else reversed(WAYS):
                check = expected.check if rounds == 0 else _unchecked
                taken[way].append(await _round(way, engine, name, policy, expected, check))
            rounds += 1
    policy.close()
    times = request.folder / "alone.npy"
    np.save(times, np.concatenate([np.array(ones, np.int64) for ones in taken["infer"][1:]]))
    medians = {way: tuple(float(np.median(ones)) for ones in rows[1:]) for way, rows in taken.items()}
    return LoneTimes(**medians, infer_all=times)


async def _round(
    way: str, engine: Engine, name: str, policy: Any, expected: Expected, check: Callable[[int, Any], None]
) -> Times:
    """The nanoseconds of each call."""
    match way:
        case "direct":
            return _called_each(policy, expected, check)
        case "infer_now":
            return _called_each(lambda observation: engine.infer_now(name, observation), expected, check)
        case "infer":
            return await _awaited_each(engine, name, expected, check)
        case _:
            return await _as_batch(engine, name, expected, check)


def _called_each(call: Callable[[Any], Any], expected: Expected, check: Callable[[int, Any], None]) -> Times:
    clock, taken = time.perf_counter_ns, []
    for place, observation in enumerate(expected.observations):
        begun = clock()
        answer = call(observation)
        taken.append(clock() - begun)
        check(place, answer)
    return taken


async def _awaited_each(
    engine: Engine, name: str, expected: Expected, check: Callable[[int, Any], None]
) -> Times:
    clock, taken = time.perf_counter_ns, []
    for place, observation in enumerate(expected.observations):
        begun = clock()
        answer = await engine.infer(name, observation)
        taken.append(clock() - begun)
        check(place, answer)
    return taken


async def _as_batch(
    engine: Engine, name: str, expected: Expected, check: Callable[[int, Any], None]
) -> Times:
    batch = np.stack(expected.observations)
    begun = time.perf_counter_ns()
    answers = await engine.batch_inference(name, batch)
    taken = time.perf_counter_ns() - begun
    outputs = answers if isinstance(answers, tuple) else (answers,)
    for place, row in enumerate(zip(*outputs, strict=True)):
        check(place, row)
    return [taken // len(batch)]


def _unchecked(place: int, answer: Any) -> None:
    """Answers were checked in the first round, which is in no figure."""
