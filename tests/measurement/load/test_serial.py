"""One call after the other: requests wait for those in front of them, and that is in their latency."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from grandopt.errors import AgentFailed, MeasurementError
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.serial import SerialLoad
from grandopt.measurement.load.settings import LoadSettings
from tests.measurement.load.virtual import OBSERVATIONS

SHORT = LoadSettings(seconds=0.03, warmup_s=0.0, grace_s=30.0)


def load(target: Any, settings: LoadSettings = SHORT) -> SerialLoad:
    return SerialLoad(target, OBSERVATIONS, settings)


def test_a_stalled_call_shows_in_all_that_were_due_meanwhile() -> None:
    calls = 0

    def target(observation: Any, priority: int, deadline_ns: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            time.sleep(0.02)

    due = np.arange(20) * 1_000_000
    found = asyncio.run(load(target).replay(due))
    assert calls == 20
    stalled = found.started_ns[4] + 20_000_000
    assert (found.ended_ns[4:] >= stalled).all()
    assert (found.started_ns[1:] >= found.ended_ns[:-1]).all()
    assert (found.started_ns >= found.due_ns).all()
    assert found.latency_ns()[5] >= stalled - found.due_ns[5]
    assert found.kept_up


def test_errors_are_outcomes() -> None:
    def target(observation: Any, priority: int, deadline_ns: int) -> None:
        if int(observation[0]) == 3:
            raise AgentFailed("three")
        if int(observation[0]) == 4:
            raise ZeroDivisionError

    found = asyncio.run(load(target).replay(np.zeros(6, np.int64)))
    answered, failed = Outcome.ANSWERED, Outcome.FAILED
    assert found.outcomes.tolist() == [answered, answered, answered, failed, failed, answered]
    assert found.errors == {"AgentFailed": 1, "ZeroDivisionError": 1}
    assert found.first_error == "AgentFailed: three"


def test_those_whose_turn_does_not_come_are_lost() -> None:
    settings = LoadSettings(seconds=0.001, warmup_s=0.0, grace_s=0.001)

    def target(observation: Any, priority: int, deadline_ns: int) -> None:
        time.sleep(0.005)

    found = asyncio.run(load(target, settings).replay(np.zeros(5, np.int64)))
    assert found.outcomes.tolist() == [Outcome.ANSWERED] + [Outcome.LOST] * 4
    assert found.started_ns.tolist()[1:] == [-1] * 4


def test_a_closed_loop_calls_until_the_time_is_over() -> None:
    found = asyncio.run(load(lambda *_: None).closed(1))
    assert (found.outcomes == Outcome.ANSWERED).all()
    assert found.count() > 10
    assert (found.started_ns[1:] >= found.ended_ns[:-1]).all()
    with pytest.raises(MeasurementError, match="has one caller, got 2"):
        asyncio.run(load(lambda *_: None).closed(2))


def test_deadlines_are_told_in_the_clock_of_the_machine() -> None:
    told: list[int] = []
    settings = LoadSettings(seconds=0.01, warmup_s=0.0, deadline_s=100.0, tell_deadline=True)

    async def whole() -> LoadResult:
        return await load(lambda _, __, latest: told.append(latest), settings).at(1000.0, "constant")

    before = time.perf_counter_ns()
    found = asyncio.run(whole())
    assert len(told) == len(found.due_ns)
    assert all(before + 100e9 <= latest <= time.perf_counter_ns() + 100e9 for latest in told)
