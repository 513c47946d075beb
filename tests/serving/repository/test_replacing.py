"""An agent that is replaced while it answers: no answer is lost, and each is of one version."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from grandopt.runtime.engine.engine import Engine
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.repository.repository import Repository
from tests.serving.agents import answered, asking
from tests.serving.artifacts import put, scaled

FACTORS = (2.0, 3.0, 5.0)
SIZES = (1, 1, 1, 2, 7, 300)
"""Rows of the requests; the last are computed in several parts."""


async def ask_until(plane: DataPlane, factors: dict[str, float], over: asyncio.Event, number: int) -> int:
    """Ask again and again; each answer has to be that of the version which it says it is of."""
    for asked in itertools.count():
        rows = SIZES[(asked + number) % len(SIZES)]
        if over.is_set():
            return asked
        x = np.full((rows, 4), number + asked, np.float32)
        named = plane.model_metadata("agent")["versions"][0] if asked % 2 else ""
        response = await answered(plane, asking("agent", x=x)._replace(version=named))
        if named:
            assert response.version == named
        np.testing.assert_array_equal(response.outputs[0].data, factors[response.version] * x)  # type: ignore[arg-type]
        await asyncio.sleep(0)
    return 0


async def replaced(folder: Path, times: int, engine_name: str, workers: str, profile: str) -> None:
    """Replace an agent that many callers ask, and look at what they get."""
    factors = {}

    def write(version: int) -> None:
        factors[str(version)] = FACTORS[version % len(FACTORS)]
        put(scaled(factors[str(version)], engine=engine_name), folder / "agent" / str(version))

    write(1)
    engine = Engine()
    await engine.initialize(profile, monitoring=False, adaptation=False)
    repository = Repository(folder, engine, mode="explicit", first=("agent",), changes={"workers": workers})
    await repository.start()
    plane = DataPlane(engine, repository)
    over = asyncio.Event()
    callers = [asyncio.ensure_future(ask_until(plane, factors, over, number)) for number in range(16)]
    try:
        for version in range(2, times + 2):
            await asyncio.to_thread(write, version)
            await plane.load("agent", {})
            if version > 3:
                shutil.rmtree(folder / "agent" / str(version - 2))
            await asyncio.sleep(0)
    finally:
        over.set()
    asked = sum(await asyncio.gather(*callers))
    (stats,) = plane.statistics()["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == asked
    assert stats["inference_stats"]["fail"]["count"] == 0
    assert stats["version"] == str(times + 1)
    assert asked > 10 * times
    await engine.shutdown()


@pytest.mark.parametrize("workers", ["inline", "threads"])
def test_a_few_times(tmp_path: Path, workers: str) -> None:
    asyncio.run(replaced(tmp_path, 3, "torchscript", workers, "aggressive"))


def test_a_few_times_without_batching(tmp_path: Path) -> None:
    asyncio.run(replaced(tmp_path, 3, "torchscript", "auto", "basic"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["auto", "threads"])
def test_a_hundred_times(tmp_path: Path, workers: str) -> None:
    asyncio.run(replaced(tmp_path, 100, "native", workers, "aggressive"))
