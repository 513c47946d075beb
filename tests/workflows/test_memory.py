"""`grandopt benchmark --suite memory`, without and with its processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import ArtifactError, ConfigError
from grandopt.measurement.statistics import SAMPLES_NEEDED
from grandopt.measurement.wire.serving import Collections, ServeTail, TailTimes
from grandopt.suites import memory
from grandopt.suites.memory import TailSetup, benchmark_memory

CALLS = SAMPLES_NEEDED[99.9]


def answered(request: ServeTail) -> TailTimes:
    """A process in whose place nothing is measured: 100 µs, and 1 in 500 requests ten times as long."""
    times = np.full(request.calls, 100_000)
    times[::500] = 200_000 if request.collector else 1_000_000
    np.save(request.times, times)
    return TailTimes(
        gc_kind="generational",
        tracked=300_000,
        per_request=21,
        agent_ns=20_000,
        thresholds=(50_000, 10, 10) if request.collector else (700, 10, 10),
        seconds=1.0,
        interrupted=2,
        collections=(
            Collections(0, request.collector, 20, 0.01),
            Collections(1, request.collector, 2, 0.02),
            Collections(2, False, 1, 0.5),
        ),
    )


@pytest.fixture
def tail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> memory.Tail:
    order = []

    def asked(request: ServeTail) -> TailTimes:
        order.append(request.collector)
        return answered(request)

    monkeypatch.setattr(memory, "_asked", asked)
    setup = TailSetup(processes=3, calls=CALLS)
    request = ServeTail(
        artifact=tmp_path,
        trust=False,
        ring=(),
        times=tmp_path / "times.npy",
        sessions=setup.sessions,
        recent=setup.recent,
        burst=setup.burst,
        calls=setup.calls,
        collector=False,
    )
    found = memory._tail(request, "gate", setup, lambda _: None)
    assert order == [False, True, True, False, False, True]
    return found


def test_the_tail_is_taken_from_pooled_samples(tail: memory.Tail) -> None:
    assert tail.defaults.samples == tail.collector.samples == 3 * CALLS
    assert tail.defaults.percentiles == {
        "50": pytest.approx(1e-4),
        "90": pytest.approx(1e-4),
        "99": pytest.approx(1e-4),
        "99.9": pytest.approx(1e-3),
    }
    assert tail.ratio == pytest.approx(5.0)
    assert tail.ratios == pytest.approx((5.0, 5.0, 5.0))
    assert tail.defaults.longest == pytest.approx(1e-3)
    assert (tail.defaults.collections, tail.defaults.idle_collections) == (69, 0)
    assert (tail.collector.collections, tail.collector.idle_collections) == (3, 66)
    assert tail.collector.idle_s == pytest.approx(0.09)
    assert tail.defaults.interrupted == 6
    assert tail.agent_s == pytest.approx(2e-5)


def test_bad_input_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"needs {CALLS} calls"):
        TailSetup(calls=CALLS - 1)
    for field in ("processes", "sessions", "recent", "burst"):
        with pytest.raises(ConfigError, match="at least 1"):
            TailSetup(**{field: 0})
    with pytest.raises(ArtifactError):
        benchmark_memory(tmp_path / "absent", TailSetup(), lambda _: None, sizes=(64,))


@pytest.mark.slow
def test_a_whole_run_on_a_built_agent() -> None:
    told: list[str] = []
    setup = TailSetup(processes=1, calls=CALLS, sessions=1000, recent=8, burst=50)
    result = benchmark_memory(None, setup, told.append, sizes=(4096, 1 << 16))
    assert [(row.kind, row.live) for row in result.pools] == [
        (kind, live) for kind in ("array", "buffer", "tensor") for live in (1, 4)
    ]
    assert all([time.size for time in row.break_even.times] == [4096, 1 << 16] for row in result.pools)
    tail = result.tail
    assert tail.agent == "serving_agent"
    assert tail.tracked > 4000
    assert tail.per_request > 10
    # Where collections happen does not depend on how busy the machine is.
    assert tail.defaults.collections > 20
    assert tail.defaults.idle_collections == 0
    assert tail.collector.idle_collections > 20
    assert tail.collector.collections == 0
    assert tail.collector.thresholds[0] == 50_000
    assert tail.ratio > 0
    assert "building the agent" in told
