"""Streams, sessions and pipelines of an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from grandopt.errors import ConfigError, DeadlineExceeded, EngineClosed, SignatureError, UnknownAgentError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.executors.session import EngineSession
from grandopt.runtime.scheduling.call import deadline_of
from grandopt.signature import Contract, Signature, StateTensor, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line, pair

X = np.arange(4, dtype=np.float32)


def adding() -> FakeExecutor:
    """x [2], the sum so far [2] → twice the new sum, the new sum."""
    signature = Signature(
        (TensorSpec("x", (2,)), TensorSpec("total", (2,))), (TensorSpec("y", (2,)), TensorSpec("next", (2,)))
    )

    def step(inputs: Any) -> Any:
        total = inputs[0] + inputs[1]
        return 2 * total, total

    return FakeExecutor(signature, step, Contract(state=(StateTensor("total", "next"),)))


@pytest.fixture(params=["basic", "inline", "threads"])
def serving(request: pytest.FixtureRequest) -> Callable[[Callable[[Engine], Awaitable[Any]]], Any]:
    """What runs a body with an engine that serves three agents."""
    basic = request.param == "basic"
    profile, workers = ("basic", "auto") if basic else ("aggressive", request.param)

    def run(body: Callable[[Engine], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            engine = Engine()
            await engine.initialize(profile, memory=False, workers=workers)
            async with engine:
                engine.add("line", line())
                engine.add("pair", pair())
                engine.add("adding", adding())
                result = await body(engine)
                await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) == 1
                return result

        return asyncio.run(main())

    return run


def test_a_stream_is_answered_in_order(serving: Any) -> None:
    async def body(engine: Engine) -> None:
        answers = [answer async for answer in engine.stream("line", (X + number for number in range(200)))]
        assert len(answers) == 200
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(answer, 2 * (X + number))
        observations = [(np.zeros(2), 1), {"x": np.ones(2), "n": 2}]
        sums = [total async for total, _ in engine.stream("pair", observations, window=1)]
        np.testing.assert_array_equal(sums, [[1, 1], [3, 3]])
        with pytest.raises(UnknownAgentError):
            engine.stream("nobody", [])
        with pytest.raises(ConfigError, match="window"):
            engine.stream("line", [], window=-1)
        with pytest.raises(SignatureError):
            _ = [answer async for answer in engine.stream("line", [X, X[:2], X])]

    serving(body)


def test_each_session_keeps_its_own_state(serving: Any) -> None:
    async def body(engine: Engine) -> None:
        rows = np.random.default_rng(0).standard_normal((10, 20, 2)).astype(np.float32)

        async def play(stream: int) -> None:
            session, alone = engine.session("adding", stream), EngineSession(adding())
            for row in rows[stream]:
                np.testing.assert_array_equal(await session.infer(row), alone(row))

        await asyncio.gather(*[play(stream) for stream in range(10)])
        assert engine.stats().agents["adding"].sessions.open == 10
        assert engine.stats().agents["line"].sessions is None
        with pytest.raises(SignatureError):
            engine.session("line")
        kept = engine.session("adding", 0)
        await engine.unload("adding")
        assert kept.closed

    serving(body)


def test_a_pipeline_of_agents_and_functions(serving: Any) -> None:
    async def body(engine: Engine) -> None:
        graph = {
            "double": {"agent": "line", "inputs": {"x": "request.x"}},
            "again": {"agent": "line", "inputs": {"x": "double.y"}},
        }
        decide = engine.create_model_pipeline("decide", graph)
        answers = await asyncio.gather(*[decide(X + number, deadline_s=10) for number in range(50)])
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(answer["y"], 4 * (X + number))
        stats = engine.get_comprehensive_stats().pipelines["decide"]
        assert (stats.answered, set(stats.stages)) == (50, {"double", "again"})
        await engine.replace("line", line(3.0))
        np.testing.assert_array_equal((await decide({"x": X}))["y"], 9 * X)
        with pytest.raises(ConfigError, match="already"):
            engine.create_model_pipeline("decide", graph)
        with pytest.raises(UnknownAgentError, match="nobody"):
            engine.create_model_pipeline("other", ["nobody"])
        engine.remove_model_pipeline("decide")
        assert engine.stats().pipelines == {}
        with pytest.raises(ConfigError, match="no pipeline 'decide'"):
            engine.remove_model_pipeline("decide")
        decide = engine.create_model_pipeline("decide", graph)
        graph["double"]["inputs"] = {"x": "again.y"}
        with pytest.raises(ConfigError, match="circle"):
            engine.create_model_pipeline("round", graph)
        with pytest.raises(DeadlineExceeded):
            await decide(X, deadline_s=-1)
        await engine.unload("line")
        with pytest.raises(EngineClosed):
            await decide(X)

    serving(body)


@pytest.mark.parametrize("far", [float("inf"), 1e300, 1e10])
def test_a_deadline_that_is_very_far_away_is_none(far: float) -> None:
    assert deadline_of(far, 5) == 0
