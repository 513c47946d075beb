"""Latency histograms: their buckets, and what they say of a sample."""

from __future__ import annotations

import itertools
import sys
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.histogram import (
    BUCKETS,
    FOLDED,
    SHORT,
    LatencyCounts,
    LatencyHistogram,
    bucket_of,
    buckets_of,
    lower_ns,
)

durations = st.integers(min_value=0, max_value=1 << 41)


@given(durations)
def test_a_duration_lies_in_its_bucket(ns: int) -> None:
    (bucket,) = buckets_of([ns])
    assert lower_ns(int(bucket)) <= ns < lower_ns(int(bucket) + 1)


def test_buckets_are_narrow_and_leave_no_gap() -> None:
    edges = [lower_ns(bucket) for bucket in range(BUCKETS + 1)]
    assert edges[0] == 0
    assert edges[-1] == 1 << 42
    assert all(a < b for a, b in itertools.pairwise(edges))
    assert all((b - a) <= max(64, a / 16) for a, b in itertools.pairwise(edges))


def test_what_is_out_of_range_is_counted_at_the_ends() -> None:
    assert list(buckets_of([-5, 1 << 60])) == [0, BUCKETS - 1]


@given(st.lists(durations, min_size=1, max_size=2 * FOLDED), st.floats(0, 1))
def test_quantiles_are_those_of_the_sample_to_a_bucket(sample: list[int], q: float) -> None:
    histogram = LatencyHistogram()
    for ns in sample:
        histogram.record(ns)
    counts = histogram.snapshot()
    exact = sorted(sample)[max(1, int(np.ceil(q * len(sample)))) - 1]
    found = counts.quantile(q)
    assert counts.total == len(sample)
    assert counts.sum_ns == sum(sample)
    assert found is not None
    assert abs(found - exact) <= max(64, exact / 16)


@given(st.lists(durations), st.lists(durations))
def test_a_difference_is_what_came_between(first: list[int], second: list[int]) -> None:
    histogram, only = LatencyHistogram(), LatencyHistogram()
    histogram.record_many(first)
    before = histogram.snapshot()
    histogram.record_many(second)
    only.record_many(second)
    between = histogram.snapshot() - before
    assert (between.counts == only.snapshot().counts).all()
    assert between.sum_ns == sum(second)
    assert ((before + between).counts == histogram.snapshot().counts).all()


@given(st.lists(durations | st.integers(0, 2 * SHORT)))
def test_durations_count_the_same_one_by_one_and_together(sample: list[int]) -> None:
    singly, together = LatencyHistogram(), LatencyHistogram()
    for ns in sample:
        singly.record(ns)
    together.record_many(sample)
    assert (singly.snapshot().counts == together.snapshot().counts).all()
    assert singly.snapshot().sum_ns == together.snapshot().sum_ns == sum(sample)
    assert singly.total == together.total == len(sample)
    assert [bucket_of(ns) for ns in sample] == list(buckets_of(sample))


@given(st.lists(st.tuples(durations | st.integers(0, 2 * SHORT), st.integers(1, 50))))
def test_equal_shares_count_as_each_of_them(sample: list[tuple[int, int]]) -> None:
    singly, equal = LatencyHistogram(), LatencyHistogram()
    for ns, count in sample:
        equal.record_equal(ns, count)
        for _ in range(count):
            singly.record(ns // count)
    assert (singly.snapshot().counts == equal.snapshot().counts).all()
    assert equal.snapshot().sum_ns == sum(ns for ns, _ in sample)
    assert singly.total == equal.total


def test_nothing_has_no_quantile() -> None:
    assert LatencyCounts().quantile(0.5) is None
    assert LatencyCounts().mean_ns is None


def test_at_most_counts_whole_buckets() -> None:
    histogram = LatencyHistogram()
    histogram.record_many([100, 1_000, 10_000])
    assert [histogram.snapshot().at_most(ns) for ns in (50, 1_100, 20_000)] == [0, 2, 3]


def test_a_power_of_two_is_an_exact_limit() -> None:
    histogram = LatencyHistogram()
    histogram.record_many([1_023, 1_024, 2_047, 2_048])
    assert histogram.snapshot().below([1 << 10, 1 << 11, 1 << 12]) == [1, 3, 4]


def test_a_percentile_needs_its_samples() -> None:
    histogram = LatencyHistogram()
    histogram.record_many([1_000] * 661)
    assert histogram.snapshot().percentile_ns(99.0) is None
    assert histogram.snapshot().percentile_ns(50.0) is not None
    histogram.record(1_000)
    assert histogram.snapshot().percentile_ns(99.0) is not None


def test_snapshots_of_another_thread_never_shrink() -> None:
    histogram = LatencyHistogram()
    taken: list[LatencyCounts] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            taken.append(histogram.snapshot())

    reader = threading.Thread(target=look)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader.start()
        for number in range(20_000):
            histogram.record(number)
    finally:
        over.set()
        reader.join()
        sys.setswitchinterval(interval)
    totals = [counts.total for counts in taken]
    assert totals == sorted(totals)
    assert all((later - earlier).counts.min() >= 0 for earlier, later in itertools.pairwise(taken[:200]))
