"""The soak program, short and long."""

from __future__ import annotations

import shutil

import pytest

from tests.runtime.cache.soak import WARM_S, Outcome, complaints, soak

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server not found")


@needs_redis
@pytest.mark.slow
def test_nothing_wrong_is_found_through_a_short_run() -> None:
    pytest.importorskip("redis", reason="skipped: the Redis client is not installed")
    outcome = soak(14.0)
    assert complaints(outcome, lookups=5_000, warm=60.0) == []
    assert outcome.counts["cancelled"] > 0
    assert outcome.counts["failed"] > 0
    assert len(outcome.memory) == 3  # the two processes, and the one that took the place of the killed one


@needs_redis
@pytest.mark.stress
def test_nothing_wrong_is_found_through_ten_minutes_and_memory_stays_flat() -> None:
    pytest.importorskip("redis", reason="skipped: the Redis client is not installed")
    assert complaints(soak(600.0), lookups=10_000_000, warm=WARM_S) == []


def test_what_must_not_be_is_said() -> None:
    counts = {"lookups": 10, "wrong": 1, "expired": 0, "crashed": 1}
    growing = {1: [(float(second), 100 + second / 30) for second in range(300)]}
    outcome = Outcome(counts, 300.0, [0, -9], "file system", [], growing)
    assert outcome.slopes(90.0) == {1: pytest.approx(2.0)}
    assert complaints(outcome, 11, 90.0) == [
        "1 wrong values",
        "1 threads ended with an exception",
        "10 checked look-ups, fewer than 11",
        "processes ended with [0, -9]",
        "memory grows by 2.00 MB/min",
    ]
    assert (
        complaints(Outcome({**counts, "wrong": 0, "crashed": 0}, 1.0, [0], "file system", []), 10, 90.0) == []
    )
