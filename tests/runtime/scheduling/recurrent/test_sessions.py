"""Sessions: each stream's answers are those of its own sequential session, whatever else happens."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import (
    ConfigError,
    DeadlineExceeded,
    Overloaded,
    SessionClosed,
    SignatureError,
)
from grandopt.runtime.scheduling.recurrent.sessions import Sessions
from grandopt.runtime.scheduling.request import Priority
from grandopt.signature import Array, Contract
from tests.runtime.cache.clock import Clock
from tests.runtime.scheduling.adding import CONTRACT, INITIAL, SIGNATURE, Held, Turns, adding, row, settle

STREAMS = st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5), st.booleans()), max_size=40)


def sessions(calls: Turns | Held, **limits: object) -> Sessions:
    return Sessions(calls.infer, SIGNATURE, CONTRACT, **limits)


@settings(max_examples=50, deadline=None)
@given(STREAMS)
def test_interleaved_streams_answer_as_their_own_sessions_do(steps: list[tuple[int, int, bool]]) -> None:
    """Concurrent calls of the same and of different sessions, with resets in between."""

    async def together() -> list[list[float]]:
        pool = sessions(Turns())
        own = [pool.open() for _ in range(5)]
        tasks = []
        for stream, value, reset in steps:
            if reset:
                # In order with the calls: all made so far are under way or wait.
                await asyncio.sleep(0)
                own[stream].reset()
            tasks.append(asyncio.ensure_future(own[stream].infer(row(value))))
        return [said.tolist() for said in await asyncio.gather(*tasks)]

    alone = [adding().session() for _ in range(5)]
    wanted = []
    for stream, value, reset in steps:
        if reset:
            alone[stream].reset()
        wanted.append(alone[stream](row(value)).tolist())
    assert asyncio.run(together()) == wanted


def test_rows_of_one_batch_belong_to_different_streams() -> None:
    async def body() -> None:
        calls = Turns()
        pool = sessions(calls)
        streams = [pool.open() for _ in range(8)]
        for step in range(3):
            await asyncio.gather(*(stream.infer(row(step)) for stream in streams))
        assert calls.sizes == [8, 8, 8]
        assert [int(stream.state["count"]) for stream in streams] == [3] * 8

    asyncio.run(body())


OPERATIONS = st.lists(st.sampled_from(["call", "fail", "cancel", "answer", "reset", "late"]), max_size=40)


@settings(max_examples=50, deadline=None)
@given(OPERATIONS, st.randoms(use_true_random=False))
def test_what_got_no_answer_leaves_no_trace(operations: list[str], chance: random.Random) -> None:
    """Calls of one session that fail, are cancelled or come too late, at any moment."""

    async def body() -> None:
        calls = Held()
        session = sessions(calls).open()
        made: list[tuple[asyncio.Task | None, float]] = []  # None: a reset
        for operation in operations:
            if operation == "answer":
                calls.answer()
            elif operation == "reset":
                session.reset()
                made.append((None, 0.0))
            elif operation == "cancel":
                tasks = [task for task, _ in made if task is not None and not task.done()]
                if tasks:
                    chance.choice(tasks).cancel()
            else:
                value = np.inf if operation == "fail" else float(chance.randint(-5, 5))
                late = 1e-9 if operation == "late" else None
                made.append((asyncio.ensure_future(session.infer(row(value), deadline_s=late)), value))
            if chance.random() < 0.5:
                await settle()
            else:
                await asyncio.sleep(0)
        while calls.calls or session.busy:
            calls.answer()
            await settle()
        outcomes = await asyncio.gather(
            *(task for task, _ in made if task is not None), return_exceptions=True
        )
        alone, results = adding().session(), iter(outcomes)
        for task, value in made:
            if task is None:
                alone.reset()
                continue
            outcome = next(results)
            if not isinstance(outcome, BaseException):
                assert outcome.tolist() == alone(row(value)).tolist()
            else:
                assert isinstance(outcome, ValueError | asyncio.CancelledError | DeadlineExceeded)
        assert session.state["total"].tolist() == alone.state["total"][0].tolist()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(body())


def test_any_form_of_an_observation_is_taken() -> None:
    async def body() -> None:
        session = sessions(Turns()).open()
        said = await session.infer(row(1.0))
        assert (type(said), said.shape) == (np.ndarray, (2,))
        assert (await session.infer({"obs": [1, 1]})).shape == (2,)
        assert (await session.infer(np.ones((1, 2)))).shape == (1, 2)
        assert isinstance(await session.infer(torch.ones(2)), torch.Tensor)
        assert (await session.infer(np.ones(4, np.float32)[::2])).shape == (2,)
        assert int(session.state["count"]) == 5
        for wrong in (np.ones(3, np.float32), np.ones((2, 2), np.float32), {"other": 1}, "text"):
            with pytest.raises(SignatureError):
                await session.infer(wrong)
        assert int(session.state["count"]) == 5

    asyncio.run(body())


def test_priority_and_deadline_go_with_the_call() -> None:
    async def body() -> None:
        calls, clock = Held(), Clock()
        pool = Sessions(calls.infer, SIGNATURE, CONTRACT, clock=lambda: int(clock.now * 1e9))
        session = pool.open()
        task = asyncio.ensure_future(session.infer(row(1.0), priority="high", deadline_s=2.0))
        await settle()
        assert calls.seen == [(Priority.HIGH, int(1002e9))]
        calls.answer()
        await task
        for seconds in (0, -1.0):
            with pytest.raises(DeadlineExceeded, match="has passed"):
                await session.infer(row(1.0), deadline_s=seconds)
        for wrong in (float("nan"), "soon", True):
            with pytest.raises(ConfigError, match="must be a number of seconds"):
                await session.infer(row(1.0), deadline_s=wrong)
        with pytest.raises(ConfigError, match="none of low"):
            await session.infer(row(1.0), priority="urgent")
        assert not session.busy

    asyncio.run(body())


def test_a_call_that_waits_for_another_is_told_when_its_deadline_comes() -> None:
    async def body() -> None:
        calls = Held()
        session = sessions(calls).open()
        first = asyncio.ensure_future(session.infer(row(1.0)))
        await settle()
        with pytest.raises(DeadlineExceeded, match="earlier calls"):
            await session.infer(row(2.0), deadline_s=0.01)
        calls.answer()
        await first
        assert len(calls.seen) == 1
        assert int(session.state["count"]) == 1

    asyncio.run(body())


def test_too_many_waiting_calls_are_refused() -> None:
    async def body() -> None:
        calls = Held()
        session = sessions(calls, waiting=2).open()
        tasks = [asyncio.ensure_future(session.infer(row(value))) for value in range(3)]
        await settle()
        with pytest.raises(Overloaded, match="2 calls of this session wait"):
            await session.infer(row(9.0))
        tasks[1].cancel()
        await settle()
        tasks.append(asyncio.ensure_future(session.infer(row(3.0))))
        while not all(task.done() for task in tasks):
            calls.answer()
            await settle()
        assert Counter(task.cancelled() for task in tasks) == {False: 3, True: 1}

    asyncio.run(body())


def test_a_key_has_one_session() -> None:
    async def body() -> None:
        pool = sessions(Turns())
        first = pool.open("EURUSD")
        assert pool.open("EURUSD") is first
        assert pool.open("USDJPY") is not first
        assert pool.open() is not pool.open()
        await first.infer(row(1.0))
        first.close()
        again = pool.open("EURUSD")
        assert again is not first
        assert again.state["total"].tolist() == list(INITIAL)
        assert len(pool) == 4

    asyncio.run(body())


def test_the_limit_is_told_with_the_time_until_there_is_room() -> None:
    async def body() -> None:
        calls, clock = Held(), Clock()
        pool = Sessions(
            calls.infer, SIGNATURE, CONTRACT, limit=2, idle_s=60.0, clock=lambda: int(clock.now * 1e9)
        )
        first, second = pool.open("a"), pool.open("b")
        clock.now += 20.0
        with pytest.raises(Overloaded, match="2 sessions are open") as caught:
            pool.open("c")
        assert caught.value.retry_after_s == 40.0
        assert pool.open("a") is first  # which counts as a use
        clock.now += 45.0
        third = pool.open("c")
        with pytest.raises(SessionClosed, match="nobody had called it for 60 s"):
            await second.infer(row(1.0))
        task = asyncio.ensure_future(first.infer(row(1.0)))
        await settle()
        clock.now += 1000.0
        pool.open("d")  # the busy one stays
        assert (third.closed, first.closed) == (True, False)
        stats = pool.stats()
        assert (stats.open, stats.busy, stats.opened, stats.expired, stats.refused) == (2, 1, 4, 2, 1)
        calls.answer()
        assert (await task).shape == (2,)
        pool.close()

    asyncio.run(body())


def test_idle_sessions_end_by_themselves() -> None:
    async def body() -> None:
        clock = Clock()
        pool = Sessions(Turns().infer, SIGNATURE, CONTRACT, idle_s=0.02, clock=lambda: int(clock.now * 1e9))
        used, left = pool.open(), pool.open()
        await left.infer(row(1.0))
        clock.now += 0.015
        await used.infer(row(1.0))
        clock.now += 0.015
        while not left.closed:  # a test that hangs is stopped from outside
            await asyncio.sleep(0.001)
        assert not used.closed
        assert (pool.stats().open, pool.stats().expired, pool.stats().state_bytes) == (1, 1, 16)
        clock.now += 0.015
        while len(pool):
            await asyncio.sleep(0.001)
        assert used.closed

    asyncio.run(body())


def test_closing_answers_the_running_call_and_refuses_the_waiting_ones() -> None:
    async def body() -> None:
        calls = Held()
        pool = sessions(calls)
        with pool.open("a") as session:
            tasks = [asyncio.ensure_future(session.infer(row(value))) for value in range(3)]
            await settle()
            session.reset()
        calls.answer()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [np.ndarray, SessionClosed, SessionClosed]
        assert len(pool) == 0
        for use in (session.reset, session.close, lambda: setattr(session, "state", session.state)):
            if use == session.close:
                use()
            else:
                with pytest.raises(SessionClosed, match="was closed"):
                    use()
        assert (pool.stats().answered, pool.stats().unanswered) == (1, 0)

    asyncio.run(body())


def test_a_call_whose_turn_came_as_the_session_closed_is_refused() -> None:
    async def body() -> None:
        calls = Held()
        pool = sessions(calls)
        session = pool.open()
        tasks = [asyncio.ensure_future(session.infer(row(value))) for value in range(2)]
        await settle()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(session.close))  # between the first's end and the second's turn
        calls.answer()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [np.ndarray, SessionClosed]
        assert len(pool) == 0

    asyncio.run(body())


def test_a_call_that_is_given_up_as_its_turn_comes_leaves_the_session_idle() -> None:
    async def body() -> None:
        calls = Held()
        pool = sessions(calls)
        session = pool.open()
        tasks = [asyncio.ensure_future(session.infer(row(value))) for value in range(2)]
        await settle()
        loop = asyncio.get_running_loop()
        loop.call_soon(
            lambda: loop.call_soon(tasks[1].cancel)
        )  # between the first's end and the second's turn
        calls.answer()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [np.ndarray, asyncio.CancelledError]
        assert not session.busy
        assert pool.stats().busy == 0  # so that it ends when it has been idle for long

    asyncio.run(body())


def test_a_state_goes_out_and_in() -> None:
    async def body() -> None:
        pool = sessions(Turns())
        one, other = pool.open(), pool.open()
        await one.infer(row(3.0))
        other.state = one.state
        assert (await one.infer(row(1.0))).tolist() == (await other.infer(row(1.0))).tolist()
        with pytest.raises(SignatureError):
            one.state = {"total": np.zeros(3), "count": 1}
        with pytest.raises(SignatureError, match="batch of 2"):
            one.state = {"total": np.zeros((2, 2)), "count": [1, 1]}
        assert int(one.state["count"]) == 2

    asyncio.run(body())


def test_an_answer_that_is_a_view_of_the_state_stays_as_it_was() -> None:
    async def infer(inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> tuple[Array, ...]:
        count, total, _, obs = inputs
        return total + obs, total, count

    async def body() -> None:
        session = Sessions(infer, SIGNATURE, CONTRACT).open()
        first = await session.infer(row(1.0))
        before = first.tolist()
        session.reset()
        for _ in range(3):
            await session.infer(row(5.0))
        assert first.tolist() == before == list(INITIAL)
        assert session.state["total"].tolist() == [16.0, -13.0]

    asyncio.run(body())


@pytest.mark.parametrize(
    "settings", [{"limit": 0}, {"limit": True}, {"waiting": 1.5}, {"idle_s": 0}, {"idle_s": float("inf")}]
)
def test_limits_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        sessions(Turns(), **settings)


def test_an_agent_without_state_has_no_sessions() -> None:
    with pytest.raises(SignatureError, match="keeps no state"):
        Sessions(Turns().infer, SIGNATURE, Contract())
