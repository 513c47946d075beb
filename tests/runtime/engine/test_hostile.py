"""Agents and callers that do what they must not: each is told, nobody hangs, nothing is left."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.config.cache import CacheConfig
from grandopt.errors import (
    AgentFailed,
    ConfigError,
    DeadlineExceeded,
    EngineClosed,
    Overloaded,
    ServingError,
    UnknownAgentError,
)
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import LINE, line

X = np.arange(4, dtype=np.float32)


class Panic(BaseException):
    """As extension modules raise them, which are no Exception."""


class WordlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


async def basic() -> Engine:
    engine = Engine()
    await engine.initialize("basic", memory=False)
    return engine


def raising(error: BaseException) -> Callable[[Array], Any]:
    def give(_: Array) -> Any:
        raise error

    return give


WRONG: dict[str, Callable[[Array], Any]] = {
    "fewer rows": lambda x: (x[:-1],),
    "more rows": lambda x: (np.concatenate([x, x]),),
    "no rows": lambda x: (x[:0],),
    "bare array": lambda x: x * 2,
    "lists": lambda x: ((x * 2).tolist(),),
    "scalar": lambda x: (np.float32(1),),
    "zero-dimensional": lambda x: (np.array(1.0),),
    "nothing": lambda x: None,
    "no outputs": lambda x: (),
    "two outputs": lambda x: (x, x),
    "cancelled": raising(asyncio.CancelledError()),
    "exit": raising(SystemExit(3)),
    "panic": raising(Panic("p")),
    "generator exit": raising(GeneratorExit()),
    "stop": raising(StopIteration()),
    "wordless": raising(WordlessError()),
}


class Moody(Executor):
    """Twice its input, but what `wrong` gives for a batch with a row that begins below 0."""

    def __init__(self, wrong: Callable[[Array], Any]) -> None:
        super().__init__(LINE)
        self.wrong = wrong

    def run(self, inputs: Sequence[Array]) -> Any:
        (x,) = inputs
        return self.wrong(x) if (x[:, 0] < 0).any() else (x * 2,)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["inline", "threads"])
def test_whatever_an_agent_gives_or_raises_each_caller_has_its_answer_or_an_error(
    kind: str, name: str
) -> None:
    draw = random.Random(f"{kind} {name}")

    async def rounds(engine: Engine) -> int:
        rows = [np.array([draw.choice((-1, at)), at, 1, 1], np.float32) for at in range(draw.randint(1, 12))]
        asked = [engine.infer("moody", row, priority=draw.randrange(4)) for row in rows]
        for row, outcome in zip(rows, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if row[0] < 0:
                assert isinstance(outcome, AgentFailed), outcome
            else:
                assert np.array_equal(outcome, row * 2)
        return len(rows)

    async def scenario() -> None:
        async with await basic() as engine, asyncio.timeout(20):
            engine.add("moody", Moody(WRONG[name]), workers=kind, concurrency=1, batching=True)
            count = sum([await rounds(engine) for _ in range(8)])
            batches = engine.stats().agents["moody"].batches
            assert batches is not None
            assert batches.failed
            assert batches.answered == batches.latency.total == count - batches.failed

    asyncio.run(scenario())


def test_a_keyboard_interrupt_in_an_agent_ends_the_loop_and_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        async with await basic() as engine:
            agent = Moody(raising(KeyboardInterrupt()))
            engine.add("moody", agent, workers="inline", batching=True)
            await engine.infer("moody", -X - 1, priority="high")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(scenario())


def test_no_output_of_an_agent_that_gives_its_input_is_the_memory_of_the_caller() -> None:
    class Echo(Executor):
        def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            return inputs[0].sum(axis=1), inputs[0]

    async def scenario() -> None:
        signature = Signature(LINE.inputs, (TensorSpec("sum", ()), TensorSpec("x", (4,))))
        async with await basic() as engine:
            for batching in (False, True):
                name = f"echo{batching}"
                engine.add(name, Echo(signature), workers="inline", batching=batching)
                for given_ in (X.copy(), np.stack([X, X])):
                    for priority in ("normal", "high"):
                        answer = (await engine.infer(name, given_, priority=priority))[1]
                        assert not np.may_share_memory(answer, given_)
                    answer = (await engine.infer(name, given_, deadline_s=10))[1]
                    assert not np.may_share_memory(answer, given_)

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["inline", "threads"])
@settings(max_examples=5, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 16))
def test_a_batch_on_an_idle_engine_is_answered_however_few_may_wait(
    kind: str, room: int, rows: int, limit: int
) -> None:
    async def scenario() -> None:
        async with await basic() as engine:
            engine.add(
                "line",
                line(),
                workers=kind,
                concurrency=2,
                batching=True,
                queue_items=room,
                batch_limit=limit,
            )
            batch = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
            assert np.array_equal(await engine.batch_inference("line", batch), batch * 2)

    asyncio.run(scenario())


def test_a_deadline_is_kept_or_the_caller_is_told_even_if_the_answer_took_longer_than_measured() -> None:
    def slow(x: Array) -> Any:
        time.sleep(0.02)
        return (x * 2,)

    async def scenario() -> None:
        async with await basic() as engine:
            for name, settings_ in {
                "direct": {"batching": False},
                "inline": {"batching": True, "workers": "inline"},
                "threads": {"batching": True, "workers": "threads"},
            }.items():
                engine.add(name, Moody(slow), **settings_)
                for _ in range(2):
                    with pytest.raises(DeadlineExceeded):
                        await engine.infer(name, -X - 1, deadline_s=0.01)
                    await asyncio.sleep(0)
                stats = engine.stats().agents[name]
                assert (stats.direct.missed if stats.batches is None else stats.batches.missed) == 2

    asyncio.run(scenario())


def test_what_cannot_be_served_leaves_no_thread() -> None:
    async def scenario() -> None:
        before = threading.active_count()
        engine = Engine()
        await engine.initialize("basic", batching=True, cache=True, workers="threads", concurrency=3)
        async with engine:
            with pytest.raises(ConfigError, match="steps need samples"):
                engine.add("a", line(), cache=CacheConfig(steps={"x": 0.1}))
            with pytest.raises(ConfigError, match="one observation has 16 bytes"):
                engine.add("a", line(), queue_mb=1e-6)
            for name in (5, b"a", None, ["a"]):
                with pytest.raises(ConfigError, match="the name of an agent is text"):
                    engine.add(name, line())  # type: ignore[arg-type]
                with pytest.raises(UnknownAgentError):
                    await engine.infer(name, X)  # type: ignore[arg-type]
                with pytest.raises(UnknownAgentError):
                    engine.infer_now(name, X)  # type: ignore[arg-type]
            assert threading.active_count() == before

    asyncio.run(scenario())


@pytest.mark.parametrize("value", [10**400, np.array([1.0, 2.0])])
def test_a_deadline_that_is_no_number_is_a_setting_that_is_wrong(value: Any) -> None:
    async def scenario() -> None:
        async with await basic() as engine:
            engine.add("line", line())
            with pytest.raises(ConfigError, match="deadline_s must be a number of seconds"):
                await engine.infer("line", X, deadline_s=value)

    asyncio.run(scenario())


def test_from_another_thread_everything_but_infer_now_is_refused() -> None:
    async def scenario() -> None:
        async with await basic() as engine:
            engine.add("line", line())
            for ask in (
                lambda: engine.stream("line", []),
                lambda: engine.session("line"),
                lambda: engine.create_model_pipeline("p", ["line"]),
                lambda: engine.shadow("line", line()),
            ):
                with pytest.raises(ServingError, match="belongs to the event loop"):
                    await asyncio.to_thread(ask)

    asyncio.run(scenario())


def test_a_shutdown_that_is_given_up_leaves_nobody_waiting_and_no_thread() -> None:
    gate = threading.Event()

    def hang(x: Array) -> Any:
        assert gate.wait(10)
        return (x * 2,)

    async def scenario() -> None:
        before = threading.active_count()
        engine = Engine()
        await engine.initialize("basic", batching=True)
        engine.add("moody", Moody(hang), workers="threads", concurrency=1)
        running = asyncio.create_task(engine.infer("moody", -X - 1))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(engine.infer("moody", X))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.shutdown(), 0.02)
        with pytest.raises(EngineClosed):
            await waiting
        gate.set()
        assert np.array_equal(await running, (-X - 1) * 2)
        for _ in range(200):
            if threading.active_count() == before:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(threading.enumerate())

    asyncio.run(scenario())


def test_nobody_is_displaced_for_a_request_that_finds_no_room_all_the_same() -> None:
    gate = threading.Event()

    def hang(x: Array) -> Any:
        assert gate.wait(10)
        return (x * 2,)

    async def scenario() -> None:
        async with await basic() as engine:
            engine.add(
                "moody",
                Moody(hang),
                workers="threads",
                concurrency=1,
                batching=True,
                queue_items=8,
                batch_limit=8,
            )
            running = asyncio.create_task(engine.infer("moody", -X - 1))
            await asyncio.sleep(0.01)
            waiting = [asyncio.create_task(engine.infer("moody", X, priority="low")) for _ in range(4)]
            waiting += [asyncio.create_task(engine.infer("moody", X, priority="high")) for _ in range(4)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await engine.infer("moody", np.stack([X] * 5), priority="high")
            gate.set()
            await asyncio.gather(running, *waiting)

    asyncio.run(scenario())


def test_an_agent_without_declared_outputs_answers_in_one_form_whichever_way_it_is_asked() -> None:
    async def scenario() -> None:
        async with await basic() as engine:
            engine.add("open", FakeExecutor(Signature(LINE.inputs, ()), lambda inputs: (inputs[0] * 2,)))
            for answer in (
                engine.infer_now("open", X),
                await engine.infer("open", X),
                await engine.infer("open", X, priority="high"),
            ):
                assert isinstance(answer, np.ndarray)
                assert np.array_equal(answer, X * 2)

    asyncio.run(scenario())


def test_a_source_that_never_gives_another_item_does_not_keep_the_process() -> None:
    program = """
import asyncio, queue
import numpy as np
from grandopt.runtime.engine.engine import Engine
from tests.runtime.engine.agents import line

async def main():
    items = queue.Queue()
    items.put(np.ones(4, np.float32))
    async with Engine() as engine:
        engine.add("line", line())
        async for answer in engine.stream("line", (items.get() for _ in range(9)), in_thread=True):
            break

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
