"""Figures follow from the raw moments, and are withheld where there are too few of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grandopt.measurement.load.base import rows
from grandopt.measurement.load.result import LoadResult, Outcome

MS = 1_000_000
ANSWERED, OVERLOADED, DEADLINE, FAILED, LOST = Outcome


def result(due: list[int], ended: list[int], outcomes: list[Outcome], **changes: Any) -> LoadResult:
    values: dict[str, Any] = {
        "kind": "open loop",
        "due_ns": np.array(due),
        "started_ns": np.array(due) + 1000,
        "ended_ns": np.array(ended),
        "outcomes": np.array(outcomes, np.uint8),
        "priorities": np.ones(len(due), np.uint8),
        "window_ns": (10 * MS, 20 * MS),
    }
    return LoadResult(**(values | changes))


@pytest.fixture
def mixed() -> LoadResult:
    due = [0, 9 * MS, 10 * MS, 11 * MS, 12 * MS, 13 * MS, 14 * MS, 19 * MS]
    ended = [1 * MS, 11 * MS, 12 * MS, 12 * MS, 13 * MS, 15 * MS, -1, 21 * MS]
    outcomes = [ANSWERED, ANSWERED, ANSWERED, OVERLOADED, DEADLINE, FAILED, LOST, ANSWERED]
    return result(
        due, ended, outcomes, priorities=np.array([1, 1, 3, 1, 1, 1, 1, 1], np.uint8), deadline_ns=2 * MS
    )


def test_only_what_was_due_in_the_window_counts(mixed: LoadResult) -> None:
    assert mixed.count() == 6
    counts = [mixed.count(outcome) for outcome in Outcome]
    assert counts == [2, 1, 1, 1, 1]
    assert mixed.latency_ns().tolist() == [2 * MS, 2 * MS]
    assert mixed.latency_ns(3).tolist() == [2 * MS]
    assert mixed.refusal_ns().tolist() == [MS - 1000, MS - 1000]
    assert mixed.lateness_ns().tolist() == [1000] * 6


def test_rates_are_of_what_came_within_the_window(mixed: LoadResult) -> None:
    assert mixed.seconds == pytest.approx(0.01)
    assert mixed.offered == pytest.approx(600)
    assert mixed.achieved == pytest.approx(200)  # due at 9 and at 10 ms; the last one came after the end
    assert mixed.goodput() == pytest.approx(200)
    assert mixed.goodput(3) == pytest.approx(100)
    assert result([10 * MS], [13 * MS], [ANSWERED], deadline_ns=2 * MS).goodput() == 0
    assert result([10 * MS], [13 * MS], [ANSWERED]).goodput() == pytest.approx(100)


@pytest.mark.parametrize(("percent", "needed"), [(50.0, 1), (99.0, 662), (99.9, 6636)])
def test_a_percentile_needs_enough_answers(percent: float, needed: int) -> None:
    def of(count: int) -> LoadResult:
        due = np.full(count, 10 * MS).tolist()
        return result(due, [11 * MS] * count, [ANSWERED] * count)

    assert of(needed).percentile_us(percent) == 1000
    assert of(needed).unavailable(percent) is None
    assert of(needed - 1).percentile_us(percent) is None
    assert of(needed - 1).unavailable(percent) == f"needs {needed} samples, has {needed - 1}"


def test_sustained_allows_one_percent_or_the_square_root() -> None:
    def of(count: int, missing: int) -> LoadResult:
        outcomes = [ANSWERED] * (count - missing) + [OVERLOADED] * missing
        return result([10 * MS] * count, [11 * MS] * count, outcomes)

    assert of(100, 10).sustained
    assert not of(100, 11).sustained
    assert of(40_000, 400).sustained
    assert not of(40_000, 401).sustained


def test_kept_up_is_of_open_loops() -> None:
    late = np.full(100, 21 * MS)
    made = ([10 * MS] * 100, [22 * MS] * 100, [ANSWERED] * 100)
    assert not result(*made, started_ns=late).kept_up
    assert result(*made, started_ns=late, kind="one by one").kept_up
    assert result(*made).kept_up


def test_rows_are_contiguous_and_of_every_input() -> None:
    ring = [np.arange(12.0).reshape(3, 4)[:, ::-1], np.arange(3)]
    found = rows(ring)
    assert len(found) == 3
    assert found[1][0].tolist() == [7, 6, 5, 4]
    assert found[1][0].flags.c_contiguous
    assert found[2][1].shape == ()
    assert int(found[2][1]) == 2
