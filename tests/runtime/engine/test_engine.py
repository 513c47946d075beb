"""The engine: agents by name, each request its own answer, and errors only to whom they concern."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.errors import (
    AgentFailed,
    ConfigError,
    DeadlineExceeded,
    EngineClosed,
    GrandoptError,
    ServingError,
    SignatureError,
    UnknownAgentError,
)
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import Origin, Version
from grandopt.runtime.scheduling.request import Priority
from grandopt.signature import Array, Contract
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import LINE, line, pair

X = np.arange(4, dtype=np.float32)


def served(profile: str, body: Callable[[Engine], Awaitable[Any]], **changes: Any) -> Any:
    """What `body` gives with an engine that serves `line` and `pair`."""

    async def main() -> Any:
        engine = Engine()
        # Freezing what is loaded takes long where torch is.
        await engine.initialize(profile, **{"memory": False, **changes})
        async with engine:
            engine.add("line", line())
            engine.add("pair", pair())
            return await body(engine)

    return asyncio.run(main())


PROFILES = ["basic", "standard", "aggressive", "maximum"]


@pytest.mark.parametrize("profile", PROFILES)
def test_an_observation_is_taken_in_every_form(profile: str) -> None:
    async def body(engine: Engine) -> None:
        for given in (X, X.astype(np.float64), X[::-1][::-1], [0, 1, 2, 3], {"x": X}):
            answer = await engine.infer("line", given)
            assert answer.dtype == np.float32
            np.testing.assert_array_equal(answer, 2 * X)
        tensor = await engine.infer("line", torch.from_numpy(X))
        assert torch.equal(tensor, torch.from_numpy(2 * X))
        batch = await engine.infer("line", np.stack([X, X + 1]))
        np.testing.assert_array_equal(batch, np.stack([2 * X, 2 * X + 2]))
        total, number = await engine.infer("pair", np.ones(2, np.float32), 3)
        np.testing.assert_array_equal(total, [4, 4])
        assert number == 3
        total, _ = await engine.infer("pair", {"n": np.array([1, 2]), "x": np.zeros((2, 2), np.float32)})
        np.testing.assert_array_equal(total, [[1, 1], [2, 2]])

    served(profile, body)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("workers", ["inline", "threads"])
def test_each_of_many_callers_gets_its_own_answer(profile: str, workers: str) -> None:
    async def body(engine: Engine) -> None:
        async def ask(number: int) -> None:
            priority = Priority(number % 4)
            deadline = 10.0 if number % 3 else None
            answer = await engine.infer("line", X + number, priority=priority, deadline_s=deadline)
            np.testing.assert_array_equal(answer, 2 * (X + number))

        await asyncio.gather(*[ask(number) for number in range(500)])

    served(profile, body, workers=workers, concurrency=None if workers == "inline" else 2)


@pytest.mark.parametrize("profile", ["basic", "aggressive"])
def test_now_from_any_thread(profile: str) -> None:
    async def body(engine: Engine) -> None:
        np.testing.assert_array_equal(engine.infer_now("line", X), 2 * X)
        answer = await asyncio.to_thread(engine.infer_now, "line", X)
        np.testing.assert_array_equal(answer, 2 * X)
        direct = engine.stats().agents["line"].direct
        assert (direct.answered, direct.failed) == (2, 0)

    served(profile, body)


@pytest.mark.parametrize("profile", ["basic", "aggressive"])
def test_batches(profile: str) -> None:
    async def body(engine: Engine) -> None:
        many = np.arange(4000, dtype=np.float32).reshape(1000, 4)
        np.testing.assert_array_equal(await engine.batch_inference("line", many), 2 * many)
        answers = await engine.batch_inference("line", [X, torch.from_numpy(X), [1, 1, 1, 1]])
        assert torch.equal(answers, torch.from_numpy(np.stack([2 * X, 2 * X, np.full(4, 2, np.float32)])))
        totals, numbers = await engine.batch_inference("pair", [(np.zeros(2), 1), {"n": 2, "x": np.zeros(2)}])
        np.testing.assert_array_equal(totals, [[1, 1], [2, 2]])
        np.testing.assert_array_equal(numbers, [1, 2])

    served(profile, body, batch_limit=16)


def test_a_long_batch_lets_single_requests_in() -> None:
    order = []

    async def body(engine: Engine) -> None:
        async def batch() -> None:
            await engine.batch_inference("line", np.zeros((640, 4), np.float32))
            order.append("batch")

        async def single() -> None:
            await asyncio.sleep(0)
            await engine.infer("line", X, priority="low")
            order.append("single")

        await asyncio.gather(batch(), single())

    served("aggressive", body, batch_limit=8, workers="inline")
    assert order == ["single", "batch"]


def test_an_error_in_a_part_of_a_batch_is_raised_as_it_is_and_leaves_nothing_running() -> None:
    def faulty(inputs: Any) -> Any:
        if (inputs[0] < 0).any():
            raise ZeroDivisionError("minus")
        return (inputs[0],)

    async def body(engine: Engine) -> None:
        engine.add("faulty", FakeExecutor(LINE, faulty))
        rows = np.ones((64, 4), np.float32)
        rows[9] = -1
        with pytest.raises(AgentFailed, match="ZeroDivisionError") as caught:
            await engine.batch_inference("faulty", rows)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert len(asyncio.all_tasks()) == 1
        np.testing.assert_array_equal(await engine.infer("faulty", X), X)
        with pytest.raises(AgentFailed):
            engine.infer_now("faulty", -X)

    served("aggressive", body, batch_limit=8)


@pytest.mark.parametrize("profile", ["basic", "aggressive"])
@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda e: e.infer("lime", X), UnknownAgentError, "did you mean 'line'"),
        (lambda e: e.infer("line", X, priority="urgent"), ConfigError, "urgent"),
        (lambda e: e.infer("line", X, priority=4), ConfigError, "4"),
        (lambda e: e.infer("line", X, deadline_s=-0.5), DeadlineExceeded, "-0.5"),
        (lambda e: e.infer("line", X, deadline_s=0), DeadlineExceeded, "passed"),
        (lambda e: e.infer("line", X, deadline_s=float("nan")), ConfigError, "NaN"),
        (lambda e: e.infer("line", X, deadline_s="soon"), ConfigError, "soon"),
        (lambda e: e.infer("line", X[:3]), SignatureError, r"\[3\]"),
        (lambda e: e.infer("line"), SignatureError, "expected 1 input"),
        (lambda e: e.infer("line", X, X), SignatureError, "got 2"),
        (lambda e: e.infer("line", {"y": X}), SignatureError, "missing"),
        (lambda e: e.batch_inference("line", X), SignatureError, "infer"),
        (lambda e: e.batch_inference("line", []), SignatureError, "no observation"),
        (lambda e: e.batch_inference("line", [X, X[:2]]), SignatureError, "observation 1"),
        (lambda e: e.replace("nobody", line()), UnknownAgentError, "nobody"),
        (lambda e: e.replace("line", pair()), SignatureError, "another name"),
        (lambda e: e.unload("nobody"), UnknownAgentError, "pair"),
    ],
)
def test_bad_requests_concern_their_caller_alone(
    profile: str,
    ask: Callable[[Engine], Awaitable[Any]],
    error: type[GrandoptError],
    words: str,
) -> None:
    async def body(engine: Engine) -> None:
        others = [asyncio.ensure_future(engine.infer("line", X + number)) for number in range(20)]
        with pytest.raises(error, match=words):
            await ask(engine)
        for number, answer in enumerate(await asyncio.gather(*others)):
            np.testing.assert_array_equal(answer, 2 * (X + number))

    served(profile, body)


def test_bad_agents() -> None:
    async def body(engine: Engine) -> None:
        with pytest.raises(ConfigError, match="already"):
            engine.add("line", line())
        with pytest.raises(ConfigError, match="executor"):
            engine.add("new", object())
        with pytest.raises(ConfigError, match="name"):
            engine.add("a/b", line())
        with pytest.raises(ConfigError, match="did you mean 'batch_limit'"):
            engine.add("new", line(), batch_limits=3)
        with pytest.raises(ConfigError, match="batch_limit"):
            engine.add("new", line(), batch_limit=-3)
        assert engine.agents == ("line", "pair")

    served("aggressive", body)


def test_the_life_of_an_engine() -> None:
    async def main() -> None:
        engine = Engine()
        for early in (lambda: engine.load("x"), lambda: engine.infer_now("line", X)):
            with pytest.raises(EngineClosed, match="initialize"):
                early()
        with pytest.raises(EngineClosed, match="initialize"):
            await engine.infer("line", X)
        with pytest.raises(ConfigError, match="did you mean 'basic'"):
            await engine.initialize("basik")
        await engine.initialize("basic")
        with pytest.raises(ServingError, match="already"):
            await engine.initialize()
        engine.add("line", line())
        await engine.shutdown()
        await engine.shutdown()
        with pytest.raises(EngineClosed, match="shut down"):
            await engine.infer("line", X)
        with pytest.raises(EngineClosed, match="shut down"):
            engine.infer_now("line", X)
        with pytest.raises(EngineClosed, match="shut down"):
            engine.add("line", line())
        with pytest.raises(EngineClosed):
            await engine.initialize()

    asyncio.run(main())


def test_another_loop_or_thread_is_told_what_to_do() -> None:
    async def body(engine: Engine) -> None:
        def elsewhere() -> list[str]:
            said = []
            for ask in (
                lambda: asyncio.run(engine.infer("line", X)),
                lambda: asyncio.run(engine.shutdown()),
                lambda: engine.add("new", line()),
            ):
                with pytest.raises(ServingError) as caught:
                    ask()
                said.append(str(caught.value))
            return said

        for words in await asyncio.to_thread(elsewhere):
            assert "infer_now" in words

    served("aggressive", body)


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("workers", ["inline", "threads"])
def test_shutdown_answers_what_waits_or_refuses_it(drain: bool, workers: str) -> None:
    async def main() -> None:
        engine = Engine()
        await engine.initialize(workers=workers, memory=False)
        engine.add("line", line())
        asked = [asyncio.ensure_future(engine.infer("line", X + number)) for number in range(50)]
        await asyncio.sleep(0)
        await engine.shutdown(drain=drain)
        ended = await asyncio.gather(*asked, return_exceptions=True)
        for number, answer in enumerate(ended):
            if not (isinstance(answer, EngineClosed) and not drain):
                np.testing.assert_array_equal(answer, 2 * (X + number))
        assert len(asyncio.all_tasks()) == 1

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == before


def test_a_second_shutdown_waits_for_the_first() -> None:
    async def main() -> None:
        gate = threading.Event()

        def gated(inputs: Sequence[Array]) -> tuple[Array, ...]:
            gate.wait(10)
            return (2 * inputs[0],)

        engine = Engine()
        await engine.initialize(workers="threads", memory=False)
        gate.set()
        engine.add("line", FakeExecutor(line().signature, gated))
        gate.clear()
        asked = asyncio.ensure_future(engine.infer("line", X))
        await asyncio.sleep(0.01)
        first, second = (asyncio.ensure_future(engine.shutdown()) for _ in range(2))
        await asyncio.sleep(0.01)
        assert not first.done()
        assert not second.done()
        gate.set()
        await asyncio.gather(first, second)
        assert asked.done()

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [5, None, ["artifacts/gate"], {}])
def test_what_is_no_artifact_is_one_clear_error(wrong: Any) -> None:
    async def body(engine: Engine) -> None:
        with pytest.raises(ConfigError, match="artifact's folder or an executor"):
            engine.load(wrong)
        with pytest.raises(ConfigError, match="artifact's folder or an executor"):
            await engine.replace("line", wrong)
        with pytest.raises(ConfigError, match="artifact's folder or an executor"):
            engine.shadow("line", wrong)
        for option in ("share", "effort", "tolerance", "seed"):
            with pytest.raises(ConfigError, match=f"^{option} must be a"):
                engine.shadow("line", line(), **{option: str(wrong)})
        np.testing.assert_array_equal(await engine.infer("line", X), 2 * X)

    served("aggressive", body)


@pytest.mark.parametrize("workers", ["inline", "threads"])
def test_a_replacement_answers_whole_requests_and_the_old_one_is_closed(workers: str) -> None:
    old, new = line(2.0), line(3.0)
    gone: list[weakref.ref[Version]] = []

    async def main() -> None:
        engine = Engine()
        await engine.initialize(workers=workers, memory=False)
        async with engine:
            version = Version(old, Origin("fake", "old"), owned=True)
            gone.append(weakref.ref(version))
            engine.add("line", version)
            del version
            factors = set()

            async def ask(number: int) -> None:
                row = X + number + 1
                for _ in range(20):
                    answer = await engine.infer("line", row)
                    factors.add(float(np.unique(np.round(answer / row, 5)).item()))
                    await asyncio.sleep(0)

            asking = [asyncio.ensure_future(ask(number)) for number in range(20)]
            await asyncio.sleep(0.001)
            await engine.replace("line", new)
            np.testing.assert_array_equal(await engine.infer("line", X), 3 * X)
            np.testing.assert_array_equal(engine.infer_now("line", X), 3 * X)
            await asyncio.gather(*asking)
            assert factors <= {2.0, 3.0}
            stats = engine.stats().agents["line"]
            assert (stats.replaced, stats.batches.failed) == (1, 0)

    asyncio.run(main())
    gc.collect()
    assert gone[0]() is None
    assert old.closed
    assert not new.closed  # it was added, and stays its owner's


def test_a_call_in_another_thread_keeps_the_old_version_open() -> None:
    begun, go_on = threading.Event(), threading.Event()
    closed_meanwhile = []

    def slow(inputs: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        closed_meanwhile.append(old.closed)
        return (inputs[0],)

    old = FakeExecutor(LINE, slow)

    async def main() -> None:
        async with Engine() as engine:
            # Without batching nothing is measured, which would call it.
            engine.add("line", Version(old, Origin("fake", "old"), owned=True), batching=False)
            call = asyncio.ensure_future(asyncio.to_thread(engine.infer_now, "line", X))
            await asyncio.to_thread(begun.wait, 10)
            await engine.replace("line", line(3.0))
            assert not old.closed
            go_on.set()
            np.testing.assert_array_equal(await call, X)
            del call

    asyncio.run(main())
    gc.collect()
    assert closed_meanwhile == [False]
    assert old.closed


def test_unloading_answers_what_waits_and_frees_the_name() -> None:
    async def body(engine: Engine) -> None:
        asked = [asyncio.ensure_future(engine.infer("line", X)) for _ in range(5)]
        await asyncio.sleep(0)
        await engine.unload("line")
        for answer in await asyncio.gather(*asked):
            np.testing.assert_array_equal(answer, 2 * X)
        with pytest.raises(UnknownAgentError):
            await engine.infer("line", X)
        engine.add("line", line(5.0))
        np.testing.assert_array_equal(await engine.infer("line", X), 5 * X)

    served("aggressive", body)


def test_a_contract_with_another_action_does_not_fit() -> None:
    async def body(engine: Engine) -> None:
        other = FakeExecutor(LINE, lambda inputs: (inputs[0],), Contract(action="argmax"))
        with pytest.raises(SignatureError, match="action"):
            await engine.replace("line", other)
        np.testing.assert_array_equal(await engine.infer("line", X), 2 * X)

    served("aggressive", body)


def test_stats_name_what_runs() -> None:
    async def body(engine: Engine) -> Any:
        await engine.infer("line", X)
        return engine.get_comprehensive_stats()

    basic, full = served("basic", body, memory=True), served("aggressive", body)
    assert basic.parts == ("memory",)
    assert "batching" in full.parts
    assert "cache" not in full.parts
    assert basic.agents["line"].batches is None
    assert basic.agents["line"].direct.answered == 1
    assert full.agents["line"].batches.answered == 1
    assert full.agents["line"].direct.answered == 0


def test_the_collector_is_put_back() -> None:
    gc.unfreeze()
    before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()

    async def body(engine: Engine) -> Any:
        assert gc.get_threshold() != before[0]
        return engine.stats()

    assert served("basic", body, memory=True).collector.tuned
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == before


def test_the_collector_is_left_alone_where_memory_is_off() -> None:
    before = gc.get_threshold()

    async def body(engine: Engine) -> Any:
        assert gc.get_threshold() == before
        return engine.stats()

    assert served("aggressive", body, memory=False).collector is None


@pytest.mark.parametrize("workers", ["inline", "threads"])
def test_replacements_at_the_same_time_follow_one_another(workers: str) -> None:
    async def body(engine: Engine) -> None:
        factors = [3.0, 4.0, 5.0, 6.0]
        await asyncio.gather(*[engine.replace("line", line(factor)) for factor in factors])
        np.testing.assert_array_equal(await engine.infer("line", X), 6 * X)
        np.testing.assert_array_equal(engine.infer_now("line", X), 6 * X)
        assert engine.stats().agents["line"].replaced == 4

    served("aggressive", body, workers=workers)


def test_a_replacement_whose_caller_goes_away_is_made_all_the_same() -> None:
    async def body(engine: Engine) -> None:
        asked = asyncio.ensure_future(engine.replace("line", line(3.0)))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await engine.unload("line")  # waits for it

    served("aggressive", body)


def test_an_agent_is_added_while_others_are_answered() -> None:
    threads = []

    def noting(inputs: Sequence[Array]) -> tuple[Array, ...]:
        threads.append(threading.get_ident())
        return (inputs[0].copy(),)

    async def main() -> None:
        async with Engine() as engine:
            engine.add("other", line())
            adding = asyncio.ensure_future(engine.add_in_background("gate", FakeExecutor(LINE, noting)))
            await engine.infer("other", np.ones(4, np.float32))
            assert await adding == "gate"
            assert threading.get_ident() not in threads  # it was measured elsewhere
            assert engine.stats().agents["gate"].choice is not None
            with pytest.raises(ConfigError, match="is served already"):
                await engine.add_in_background("gate", line())

    asyncio.run(main())


def test_submit_gives_the_answer_or_a_future_of_it() -> None:
    async def main() -> None:
        x = np.ones(4, np.float32)
        async with Engine() as engine:
            engine.add("gate", line(), workers="threads", concurrency=1)
            later = engine.submit("gate", x, priority="high", deadline_s=5)
            assert isinstance(later, asyncio.Future)
            np.testing.assert_array_equal((await later)[0], 2 * x)
            with pytest.raises(SignatureError, match="got a batch"):
                engine.submit("gate", x[None])
            with pytest.raises(UnknownAgentError):
                engine.submit("other", x)
        engine = Engine()
        await engine.initialize("basic")
        engine.add("gate", line())
        answer = engine.submit("gate", [1, 1, 1, 1])
        assert isinstance(answer, tuple)
        np.testing.assert_array_equal(answer[0], 2 * x)
        await engine.shutdown()

    asyncio.run(main())


def test_one_version_answers_a_whole_batch_that_is_computed_in_parts() -> None:
    async def main() -> None:
        async with Engine() as engine:
            engine.add("gate", line(2.0), batch_limit=8, workers="threads", concurrency=2)
            batch = np.ones((4000, 4), np.float32)
            for factor in (3.0, 5.0, 7.0):
                asked = [asyncio.ensure_future(engine.batch_inference("gate", batch)) for _ in range(3)]
                await asyncio.sleep(0.005)
                await engine.replace("gate", line(factor))
                for answer in await asyncio.gather(*asked):
                    assert len(np.unique(answer)) == 1

    asyncio.run(main())
