"""The request queue: its order against a plain model, bounds of ageing, callers that are gone."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.queue import AGED_SHARE, NEVER, RequestQueue
from grandopt.runtime.scheduling.request import Answer, Priority, Request, priority_of

NEVER_AGED = 1 << 60
LOOP = asyncio.new_event_loop()

requests = st.lists(
    st.tuples(
        st.sampled_from(list(Priority)),
        st.sampled_from([0, 0, 5, 10, 20, 30]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=40,
)


def request(priority: int = Priority.NORMAL, deadline: int = 0, rows: int = 0, arrived: int = 0) -> Request:
    future: asyncio.Future[Answer] = asyncio.Future(loop=LOOP)
    return Request(future, (np.zeros(1),), rows, priority, deadline, arrived)


def filled(described: list[tuple[Priority, int, int, bool]]) -> tuple[RequestQueue, list[Request]]:
    queue, alive = RequestQueue(), []
    for arrived, (priority, deadline, rows, gone) in enumerate(described):
        made = request(priority, deadline, rows, arrived)
        queue.push(made)
        if gone:
            made.future.cancel()
        else:
            alive.append(made)
    return queue, alive


def in_order(alive: list[Request]) -> list[Request]:
    return sorted(alive, key=lambda one: (-one.priority, one.deadline or NEVER, one.arrived))


@given(requests, st.integers(1, 9))
def test_requests_come_by_class_then_deadline_then_arrival(
    described: list[tuple[Priority, int, int, bool]], rows: int
) -> None:
    queue, alive = filled(described)
    found = []
    while taken := queue.take(rows, 0, NEVER_AGED):
        assert len(taken) == 1 or sum(one.size for one in taken) <= rows
        found += taken
    assert found == in_order(alive)
    assert queue.rows == 0
    assert queue.gone == len(described) - len(alive)


@given(requests)
def test_a_drain_and_a_purge_leave_out_who_is_gone(described: list[tuple[Priority, int, int, bool]]) -> None:
    queue, alive = filled(described)
    queue.purge()
    assert queue.rows == sum(one.size for one in alive)
    assert queue.gone == len(described) - len(alive)
    assert queue.drain() == in_order(alive)
    assert queue.rows == 0


@given(requests, st.sampled_from(list(Priority)))
@example(
    [(Priority.LOW, 5, 0, False), (Priority.LOW, 10, 0, True), (Priority.LOW, 5, 0, False)], Priority.HIGH
)
def test_only_the_last_of_lower_classes_is_displaced(
    described: list[tuple[Priority, int, int, bool]], priority: Priority
) -> None:
    queue, alive = filled(described)
    lower = [one for one in alive if one.priority < priority]
    found = queue.displace(priority)
    if not lower:
        assert found is None
        return
    lowest = min(one.priority for one in lower)
    assert found is in_order([one for one in lower if one.priority == lowest])[-1]
    assert queue.drain() == in_order([one for one in alive if one is not found])


@given(requests)
def test_rows_before_counts_what_would_be_served_first(
    described: list[tuple[Priority, int, int, bool]],
) -> None:
    queue, _ = filled(described)
    for priority in Priority:
        first = sum(rows or 1 for its, _, rows, _ in described if its >= priority)
        assert queue.rows_before(priority) == first


@given(st.integers(1, 32), st.integers(0, 3))
def test_a_low_request_is_served_however_many_critical_ones_come(rows: int, extra: int) -> None:
    queue = RequestQueue()
    low = request(Priority.LOW, arrived=0)
    queue.push(low)
    for now in range(1, 200):
        for _ in range(rows + extra):
            queue.push(request(Priority.CRITICAL, arrived=now))
        taken = queue.take(rows, now, 10)
        if low in taken:
            # As soon as it has aged and an eighth of what was served is due.
            assert now <= 10 + AGED_SHARE + 1 or extra == 0
            return
    pytest.fail("the request starved")


def test_aged_requests_take_an_eighth_and_no_more() -> None:
    queue = RequestQueue()
    for _ in range(10_000):
        queue.push(request(Priority.LOW, arrived=0))
        queue.push(request(Priority.CRITICAL, arrived=1_000))
    served = [one.priority for _ in range(50) for one in queue.take(16, 1_000, 10)]
    assert served.count(Priority.LOW) == len(served) // AGED_SHARE


def test_a_request_of_a_whole_batch_is_not_kept_out_by_aged_ones() -> None:
    queue = RequestQueue()
    whole = request(Priority.HIGH, rows=16, arrived=1_000)
    queue.push(whole)
    for _ in range(1_000):
        queue.push(request(Priority.LOW, arrived=0))
    assert whole in [one for _ in range(2) for one in queue.take(16, 1_000, 10)]


def test_young_requests_overtake_nobody() -> None:
    queue = RequestQueue()
    for _ in range(100):
        queue.push(request(Priority.LOW, arrived=5))
        queue.push(request(Priority.HIGH, arrived=5))
    served = [one.priority for _ in range(12) for one in queue.take(8, 10, 10)]
    assert set(served) == {Priority.HIGH}


def test_the_first_deadline_is_that_of_who_is_next() -> None:
    queue = RequestQueue()
    assert queue.first_deadline() == NEVER
    for deadline in (30, 10, 20, 0):
        queue.push(request(deadline=deadline))
    assert queue.first_deadline() == 10


@pytest.mark.parametrize("value", ["high", "HIGH", 2, Priority.HIGH])
def test_a_class_has_a_name_and_a_number(value: object) -> None:
    assert priority_of(value) is Priority.HIGH  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["urgent", 4, -1, True, None, 1.0, [1]])
def test_what_is_no_class_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match="is none of low, normal, high, critical"):
        priority_of(value)  # type: ignore[arg-type]


@given(requests, st.sampled_from(list(Priority)), st.sampled_from([0, 3, 10, 25, 40]))
def test_what_would_be_served_before_a_new_request_is_counted(
    described: list[tuple[Priority, int, int, bool]], priority: Priority, deadline: int
) -> None:
    queue, _ = filled(described)
    queue.purge()
    expected = queue.rows_before(priority, deadline)
    new = request(priority, deadline, arrived=1000)
    queue.push(new)
    order = in_order(queue.drain())
    assert expected == sum(one.size for one in order[: order.index(new)])


@given(requests, st.floats(0.5, 5.0), st.floats(0.0, 10.0))
def test_exactly_those_that_cannot_be_in_time_are_taken_out(
    described: list[tuple[Priority, int, int, bool]], row_ns: float, own_ns: float
) -> None:
    queue, alive = filled(described)
    at, late = 0.0, []
    for one in in_order(alive):
        if one.deadline and at + row_ns * one.size + own_ns > one.deadline:
            late.append(one)
        else:
            at += row_ns * one.size
    queue.purge()
    assert queue.take_late(0.0, row_ns, own_ns) == late
    assert queue.rows == sum(one.size for one in alive) - sum(one.size for one in late)
    assert in_order(queue.drain()) == [one for one in in_order(alive) if one not in late]
