"""A number of callers in one event loop, each of which asks anew as soon as it is answered."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.signature import Array
from grandopt.suites.serving.wire import Loop
from grandopt.suites.serving.worker.expected import Expected

Infer = Callable[[Array], Awaitable[Any]]
TENTHS = 10


async def closed_loop(infer: Infer, expected: Expected, callers: int, seconds: float, times: Path) -> Loop:
    """Let `callers` ask for `seconds`; every caller's last answer is checked.

    Raises MeasurementError for a wrong answer, and whatever `infer` raises.
    """
    found = await _asked(infer, expected, callers, seconds)
    start = min(first for first, _ in found)
    every = [np.frombuffer(taken, np.int64) for _, taken in found]
    ends = np.concatenate([first + np.cumsum(taken) for (first, _), taken in zip(found, every, strict=True)])
    np.save(times, np.concatenate(every))
    return Loop(
        callers,
        int(ends.size),
        float(ends.max() - start) / 1e9,
        min(taken.size for taken in every),
        _tenths(ends - start),
        times,
    )


async def answers_per_second(infer: Infer, expected: Expected, callers: int, seconds: float) -> float:
    """The rate of a short loop, to choose a setting with."""
    found = await _asked(infer, expected, callers, seconds)
    start = min(first for first, _ in found)
    last = max(first + sum(taken) for first, taken in found)
    return float(1e9 * sum(len(taken) for _, taken in found) / (last - start))


async def check(infer: Infer, expected: Expected, callers: int) -> None:
    """Ask for every observation once, `callers` at a time; raises MeasurementError for a wrong answer."""
    turn = iter(range(len(expected.observations)))

    async def caller() -> None:
        for place in turn:
            expected.check(place, await infer(expected.observations[place]))

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _asked(infer: Infer, expected: Expected, callers: int, seconds: float) -> list[tuple[int, Any]]:
    """For each caller, when it began and the nanoseconds of each of its requests."""
    observations, clock = expected.observations, time.perf_counter_ns
    count = len(observations)
    end = clock() + int(seconds * 1e9)

    async def caller(place: int) -> tuple[int, Any]:
        taken = array("q")
        note = taken.append
        first = before = clock()
        while True:
            answer = await infer(observations[place])
            now = clock()
            note(now - before)
            before = now
            if now >= end:
                break
            place += 1
            if place == count:
                place = 0
        expected.check(place, answer)
        return first, taken

    return list(await asyncio.gather(*(caller(number * count // callers) for number in range(callers))))


def _tenths(ends: Array) -> tuple[float, ...]:
    """Seconds per answer in each tenth of the time; of the whole where a tenth had no answer."""
    whole = float(ends.max())
    counts, _ = np.histogram(ends, TENTHS, (0.0, whole))
    if counts.min() == 0:
        return (whole / 1e9 / ends.size,)
    return tuple(float(whole / 1e9 / TENTHS / count) for count in counts)
