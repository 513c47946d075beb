"""Callers in a loop: everything is counted once, and a wrong answer is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.errors import MeasurementError
from grandopt.signature import Array
from grandopt.suites.serving.worker.closed_loop import check, closed_loop
from grandopt.suites.serving.worker.expected import Expected


def expected(limit: float = 1e-6) -> Expected:
    observations = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
    return Expected([*observations], [observations * 2, observations.sum(axis=1, keepdims=True)], limit)


async def right(observation: Array) -> Any:
    await asyncio.sleep(0)
    return observation * 2, observation.sum(keepdims=True)


@pytest.mark.parametrize("callers", [1, 3, 8])
def test_every_answer_is_counted_once(tmp_path: Path, callers: int) -> None:
    given = 0

    async def counting(observation: Array) -> Any:
        nonlocal given
        given += 1
        return await right(observation)

    loop = asyncio.run(closed_loop(counting, expected(), callers, 0.02, tmp_path / "times.npy"))
    times = np.load(tmp_path / "times.npy")
    assert loop.answered == given == times.size
    assert 1 <= loop.fewest <= given / callers
    assert times.min() > 0
    mean = np.mean(1 / np.array(loop.tenths))
    assert mean == pytest.approx(loop.answered / loop.seconds, rel=0.02)


def test_a_caller_that_never_lets_others_run_is_seen(tmp_path: Path) -> None:
    async def inline(observation: Array) -> Any:
        return observation * 2, observation.sum(keepdims=True)

    loop = asyncio.run(closed_loop(inline, expected(), 4, 0.01, tmp_path / "times.npy"))
    assert loop.fewest == 1
    assert loop.answered > 4


def test_callers_share_the_check_of_all_observations() -> None:
    asked: list[float] = []

    async def noting(observation: Array) -> Any:
        asked.append(float(observation[0]))
        return await right(observation)

    asyncio.run(check(noting, expected(), 4))
    assert sorted(asked) == [1, 3, 5, 7, 9, 11]


def test_a_neighbours_answer_is_a_wrong_one() -> None:
    async def shifted(observation: Array) -> Any:
        return await right(observation + 2)

    with pytest.raises(MeasurementError, match="observation 0 was answered with a relative error"):
        asyncio.run(check(shifted, expected(limit=0.1), 1))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros(2), "1 outputs were answered instead of 2"),
        ((np.zeros((1, 2)), np.zeros(1)), "has the shape"),
        ((np.full(2, np.nan), np.zeros(1)), "relative error of nan"),
    ],
)
def test_what_is_no_answer_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        expected(limit=1e9).check(0, answer)


def test_the_largest_deviation_is_kept() -> None:
    one = expected(limit=0.1)
    one.check(0, (np.array([2.0, 4.2]), np.array([3.0])))
    one.check(0, (np.array([2.0, 4.0]), np.array([3.0])))
    assert one.error == pytest.approx(0.2 / 20**0.5)
