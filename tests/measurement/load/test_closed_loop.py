"""A closed loop: so many callers, and never more requests than those."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from grandopt.errors import AgentFailed, MeasurementError, Overloaded
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.settings import LoadSettings
from tests.measurement.load.virtual import OBSERVATIONS, Server, loop, virtually

SHORT = LoadSettings(seconds=0.05, warmup_s=0.01, grace_s=0.02)
BRIEF = LoadSettings(seconds=0.004, warmup_s=0.001, grace_s=0.02)


async def closed(target: Any, callers: int, settings: LoadSettings = SHORT) -> LoadResult:
    return await ConcurrentLoad(target, OBSERVATIONS, settings, clock=loop().clock).closed(callers)


@limits(max_examples=15)
@given(callers=st.integers(1, 40), us=st.sampled_from([1, 30, 400, 2_000]))
def test_never_more_requests_than_callers(callers: int, us: int) -> None:
    server = Server(us * 1e-6)
    found = virtually(closed(server.infer, callers, BRIEF))
    assert server.most == callers
    assert server.at_once == 0
    assert len(found.due_ns) == sum(found.outcomes == outcome for outcome in Outcome).sum()
    assert (found.due_ns == found.started_ns).all()
    assert found.callers == callers
    ended = np.sort(found.ended_ns[found.outcomes != Outcome.LOST])
    over = np.searchsorted(ended, found.started_ns, side="right")  # of those before each one
    assert (np.arange(len(found.started_ns)) - over).max() < callers


def test_throughput_and_latency_follow_from_the_server() -> None:
    found = virtually(closed(Server(0.0005).infer, 4))
    assert found.achieved == pytest.approx(2000, rel=0.03)
    assert found.percentile_us(50.0) == pytest.approx(2000, rel=0.03)
    assert found.kept_up


def test_one_that_is_refused_comes_back_when_it_was_told_to() -> None:
    calls: list[float] = []

    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        calls.append(loop().now)
        raise Overloaded("full", 0.01)

    found = virtually(closed(target, 2))
    assert found.count(Outcome.OVERLOADED) == found.count()
    assert len(calls) == pytest.approx(12, abs=2)
    assert found.refusal_ns().max() < 100_000


def test_one_that_fails_does_not_stop_the_others() -> None:
    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        await asyncio.sleep(0.0001)
        if int(observation[0]) % 2:
            raise AgentFailed("odd")

    found = virtually(closed(target, 3))
    assert found.errors == {"AgentFailed": (found.outcomes == Outcome.FAILED).sum()}
    assert found.first_error == "AgentFailed: odd"
    assert found.count(Outcome.FAILED) == pytest.approx(found.count(Outcome.ANSWERED), abs=3)


def test_what_hangs_is_lost() -> None:
    async def target(observation: Any, priority: int, deadline_ns: int) -> None:
        await asyncio.sleep(1000)

    found = virtually(closed(target, 5))
    assert [Outcome(value) for value in found.outcomes] == [Outcome.LOST] * 5
    assert found.count() == 0  # all were made within the warm-up
    assert found.achieved == 0


def test_a_cancelled_run_leaves_nothing_behind() -> None:
    server = Server(0.001)

    async def whole() -> None:
        task = asyncio.create_task(closed(server.infer, 7))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtually(whole())
    assert server.most == 7
    assert server.at_once == 0


def test_a_function_that_submits_is_a_target_and_may_refuse_at_once() -> None:
    calls = 0

    def submit(observation: Any, priority: int, deadline_ns: int) -> asyncio.Future[Any]:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise Overloaded("full", 0.0)
        future = loop().create_future()
        loop().call_later(0.0001, future.set_result, observation)
        return future

    found = virtually(closed(submit, 2))
    assert set(found.outcomes) == {Outcome.ANSWERED, Outcome.OVERLOADED}
    assert len(found.outcomes) == calls


@pytest.mark.parametrize("callers", [0, -1])
def test_there_is_a_caller(callers: int) -> None:
    with pytest.raises(MeasurementError, match="callers must be at least 1"):
        virtually(closed(Server(0).infer, callers))
