"""Models that are optimized while they are served."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

import grandopt
from grandopt.api.optimizing import process
from grandopt.api.optimizing.request import Answer
from grandopt.errors import ConfigError, GrandoptError, InputError, UnknownAgentError
from grandopt.signature import Array
from tests.small_agents import EXAMPLES, Pair, Policy, Scribbling

X = np.linspace(-1, 1, 8, dtype=np.float32)
Engine = grandopt.IntegratedPerformanceEngine


def serving(body: Callable[[Engine], Awaitable[Any]]) -> Any:
    """What `body` gives with an engine; afterwards no process is left."""

    before = psutil.Process().children(recursive=True)  # of tests that ran before in this process

    async def main() -> Any:
        engine = Engine()
        await engine.initialize("basic", memory=False)
        async with engine:
            return await body(engine)

    result = asyncio.run(main())
    assert set(psutil.Process().children(recursive=True)) <= set(before)
    return result


def answered(model: nn.Module, *inputs: Array) -> Array:
    """What the module says to one observation."""
    with torch.no_grad():
        return model(*(torch.from_numpy(array[None]) for array in inputs))[0].numpy()


def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimizations never end by themselves."""

    async def never(content: bytes) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("grandopt.api.performance_engine.optimized", never)


def ending(monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception) -> None:
    """Optimizations end at once, like this."""

    async def at_once(content: bytes) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("grandopt.api.performance_engine.optimized", at_once)


def test_the_original_answers_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    held(monkeypatch)
    network, pair = Policy().eval(), Pair().eval()

    async def body(engine: Engine) -> Any:
        model = engine.optimize_model(network, "policy", EXAMPLES[Policy])
        expected = answered(network, X)
        awaited = await model.infer(X, priority="high", deadline_s=5)
        for answer in (model(X), awaited, engine.infer_now("policy", X)):
            np.testing.assert_allclose(answer, expected, rtol=1e-6)
        many = await engine.batch_inference("policy", np.stack([X, X]))
        np.testing.assert_allclose(many, np.stack([expected, expected]), rtol=1e-5)
        # What the caller does to the module afterwards changes nothing.
        nn.init.zeros_(network.head.weight)
        np.testing.assert_allclose(model(X), expected, rtol=1e-6)
        several = engine.optimize_model(pair, "pair", EXAMPLES[Pair])
        observation = {"state": np.ones(6, np.float32), "image": np.zeros((2, 2), np.uint8)}
        scores, decision, value = several(observation)
        assert (scores.shape, decision.shape, value.shape) == ((5,), (), (1,))
        stats = model.get_stats()
        assert (stats.status, stats.reason, stats.path) == ("optimizing", None, None)
        assert stats.agent.answering.engine == "original"
        return model

    stats = serving(body).get_stats()
    assert (stats.status, stats.reason, stats.agent) == ("original kept", "the engine was shut down", None)


def test_shutdown_before_the_optimization_has_begun() -> None:
    async def body(engine: Engine) -> Any:
        return engine.optimize_model(Policy(), "policy", EXAMPLES[Policy])

    assert serving(body).get_stats().status == "original kept"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("original kept", "nothing was faster", "/somewhere"), "nothing was faster"),
        (Answer("failed", "a layer is unknown"), "a layer is unknown"),
        (Answer("optimized", None, "/nowhere/at/all", (2.0, 1.9, 2.1)), "/nowhere/at/all"),
        (OSError("no more processes"), "no more processes"),
    ],
)
def test_why_the_original_is_kept_is_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: Answer | Exception,
    words: str,
) -> None:
    ending(monkeypatch, answer)

    async def body(engine: Engine) -> None:
        network = Policy().eval()
        model = engine.optimize_model(network, "policy", EXAMPLES[Policy])
        stats = await model.optimized()
        assert stats.status == "original kept"
        assert words in stats.reason
        np.testing.assert_allclose(model(X), answered(network, X), rtol=1e-6)

    with caplog.at_level(logging.INFO, "grandopt"):
        serving(body)
    assert words in caplog.text


class Locked(Policy):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_model_that_is_no_agent_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    held(monkeypatch)

    async def body(engine: Engine) -> None:
        with pytest.raises(ConfigError, match="did you mean 'budget_s'"):
            engine.optimize_model(Policy(), "policy", EXAMPLES[Policy], budget=3)
        with pytest.raises(ConfigError, match="listener"):
            engine.optimize_model(Policy(), "policy", EXAMPLES[Policy], listener=None)
        with pytest.raises(InputError):
            engine.optimize_model(Policy(), "policy", np.zeros((2, 9), np.float32))
        with pytest.raises(ConfigError, match="another process"):
            engine.optimize_model(Locked(), "policy", EXAMPLES[Policy])
        with pytest.raises(GrandoptError):
            engine.optimize_model(Path("nothing.onnx"), "policy")
        assert engine.agents == ()
        engine.optimize_model(Scribbling(), "policy", EXAMPLES[Scribbling])
        given = np.ones(4, np.float32)
        np.testing.assert_array_equal(engine.infer_now("policy", given), np.full(4, 3.0))
        np.testing.assert_array_equal(given, np.ones(4))
        with pytest.raises(ConfigError, match="already"):
            engine.optimize_model(Policy(), "policy", EXAMPLES[Policy])

    serving(body)


def test_unloading_ends_the_optimization(monkeypatch: pytest.MonkeyPatch) -> None:
    held(monkeypatch)

    async def body(engine: Engine) -> None:
        model = engine.optimize_model(Policy(), "policy", EXAMPLES[Policy])
        await asyncio.sleep(0)
        await engine.unload("policy")
        assert (await model.optimized()).reason == "it is served no longer"
        assert len(asyncio.all_tasks()) == 1
        with pytest.raises(UnknownAgentError):
            model(X)

    serving(body)


@pytest.mark.slow
def test_a_process_that_dies_says_its_last_words() -> None:
    answer = asyncio.run(process.optimized(b"no pickle"))
    assert answer.verdict == "failed"
    assert "ended with code 1" in answer.reason
    assert "UnpicklingError" in answer.reason


@pytest.mark.slow
def test_the_proven_artifact_takes_over_while_requests_are_answered(tmp_path: Path) -> None:
    network = Policy().eval()

    async def body(engine: Engine) -> Any:
        model = engine.optimize_model(network, "policy", EXAMPLES[Policy], output=tmp_path, budget_s=5)
        ended, answers = asyncio.ensure_future(model.optimized()), 0
        expected = answered(network, X)
        while not ended.done():
            np.testing.assert_allclose(await model.infer(X), expected, rtol=1e-4)
            answers += 1
            await asyncio.sleep(0.001)
        stats = await ended
        np.testing.assert_allclose(model(X), expected, rtol=1e-4)
        assert answers > 10
        return stats

    stats = serving(body)
    assert (stats.status, stats.reason) == ("taken over", None)
    assert stats.path == tmp_path / "artifacts" / "policy"
    assert stats.speedup[0] > 1
    assert stats.agent.answering.path == stats.path
    assert stats.agent.replaced == 1


@pytest.mark.slow
def test_an_optimization_ends_with_the_engine_and_leaves_nothing(tmp_path: Path) -> None:
    async def body(engine: Engine) -> Any:
        model = engine.optimize_model(Policy(), "policy", EXAMPLES[Policy], output=tmp_path)
        while not (tmp_path / "reports" / "optimization.log").exists():  # until it is at work
            await asyncio.sleep(0.2)
        return model

    assert serving(body).get_stats().reason == "the engine was shut down"


SERVER = """
import asyncio, sys, grandopt
from tests.small_agents import EXAMPLES, Policy

async def main():
    engine = grandopt.IntegratedPerformanceEngine()
    await engine.initialize("basic", memory=False)
    engine.optimize_model(Policy(), "policy", EXAMPLES[Policy], output=sys.argv[1])
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.slow
def test_an_optimization_ends_with_the_process_that_serves(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)]) as server:
        while not (tmp_path / "reports" / "optimization.log").exists():
            assert server.poll() is None
            time.sleep(0.2)
        left = psutil.Process(server.pid).children(recursive=True)
        assert left
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    _, alive = psutil.wait_procs(left, timeout=60)
    assert alive == []
