"""A cache in front of a served agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.config.cache import CacheConfig
from grandopt.errors import AgentFailed, ConfigError, DeadlineExceeded
from grandopt.runtime.engine.engine import Engine
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import LINE, line, pair

X = np.arange(4, dtype=np.float32)
ALWAYS = CacheConfig(must_pay=False)


class Counting(FakeExecutor):
    """Another executor, and counts the rows that it computes."""

    def __init__(self, executor: FakeExecutor) -> None:
        super().__init__(executor.signature, executor.run, executor.contract)
        self.rows = 0

    def run(self, inputs: Any) -> Any:
        self.rows += len(inputs[0])
        return super().run(inputs)


def rows(executor: FakeExecutor) -> Counting:
    """The executor, with its rows counted."""
    return Counting(executor)


def serve(body: Any, executor: FakeExecutor, cache: CacheConfig = ALWAYS, **changes: Any) -> Any:
    """What `body` gives with an engine that serves `executor` behind a cache."""

    async def main() -> Any:
        engine = Engine()
        await engine.initialize(**{"memory": False, "workers": "inline", **changes})
        async with engine:
            engine.add("agent", executor, cache=cache)
            if isinstance(executor, Counting):
                executor.rows = 0  # what was measured does not count
            return await body(engine)

    return asyncio.run(main())


@pytest.mark.parametrize("batching", [True, False])
def test_equal_observations_are_computed_once(batching: bool) -> None:
    executor = rows(line())

    async def body(engine: Engine) -> None:
        answers = await asyncio.gather(*[engine.infer("agent", X + number % 5) for number in range(100)])
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(answer, 2 * (X + number % 5))
        for number in range(5):
            np.testing.assert_array_equal(engine.infer_now("agent", X + number), 2 * (X + number))
        assert executor.rows == 5
        stats = engine.stats()
        assert "cache" in stats.parts
        assert stats.agents["agent"].cache.computed == 5

    serve(body, executor, batching=batching)


def test_several_outputs_and_deadlines() -> None:
    executor = rows(pair())

    async def body(engine: Engine) -> None:
        for _ in range(3):
            total, number = await engine.infer("agent", np.ones(2, np.float32), 3, deadline_s=5)
            np.testing.assert_array_equal(total, [4, 4])
            assert number == 3
        assert executor.rows == 1
        with pytest.raises(DeadlineExceeded):
            await engine.infer("agent", np.ones(2, np.float32), 4, deadline_s=1e-9)

    serve(body, executor)


def test_a_replacement_forgets_what_the_old_one_said() -> None:
    executor = rows(line())

    async def body(engine: Engine) -> None:
        np.testing.assert_array_equal(await engine.infer("agent", X), 2 * X)
        other = rows(line(3.0))
        asked = [asyncio.ensure_future(engine.infer("agent", X + number)) for number in range(50)]
        await engine.replace("agent", other)
        for number, answer in enumerate(await asyncio.gather(*asked)):
            assert np.array_equal(answer, 2 * (X + number)) or np.array_equal(answer, 3 * (X + number))
        for number in range(50):
            np.testing.assert_array_equal(await engine.infer("agent", X + number), 3 * (X + number))
            np.testing.assert_array_equal(engine.infer_now("agent", X + number), 3 * (X + number))
        await engine.replace("agent", executor)
        for number in range(50):
            np.testing.assert_array_equal(await engine.infer("agent", X + number), 2 * (X + number))

    serve(body, executor)


def test_an_error_is_not_kept() -> None:
    broken = [True]

    def sometimes(inputs: Any) -> Any:
        if broken[0] and inputs[0][0, 0] == 7:
            raise ValueError("no")
        return (inputs[0],)

    async def body(engine: Engine) -> None:
        seven = np.full(4, 7, np.float32)
        for _ in range(2):
            with pytest.raises(AgentFailed, match="no"):
                await engine.infer("agent", seven)
        broken[0] = False
        np.testing.assert_array_equal(await engine.infer("agent", seven), seven)

    serve(body, FakeExecutor(LINE, sometimes))


def test_a_caller_that_goes_away_leaves_the_computation_to_another() -> None:
    async def body(engine: Engine) -> None:
        first = asyncio.ensure_future(engine.infer("agent", X))
        second = asyncio.ensure_future(engine.infer("agent", X))
        await asyncio.sleep(0)
        first.cancel()
        np.testing.assert_array_equal(await second, 2 * X)

    serve(body, line(), workers="threads")


def test_a_cache_that_is_kept_on_disk_outlives_the_engine_where_the_agent_is_the_same(tmp_path: Path) -> None:
    async def body(engine: Engine) -> None:
        np.testing.assert_array_equal(await engine.infer("agent", X), 2 * X)

    first, second = rows(line()), rows(line())
    for executor in (first, second):
        serve(body, executor, CacheConfig(must_pay=False, folder=tmp_path))
        # In memory each is an agent of its own: nobody says that they are equal.
        assert executor.rows == 1


def test_steps_need_samples() -> None:
    async def body(engine: Engine) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match=r"grandopt\.cached"):
        serve(body, line(), CacheConfig(steps={"x": 0.5}))
