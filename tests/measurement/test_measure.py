"""Measuring agents of known speed in real worker processes. Only ratios and orders are checked, no times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.environment import available_cores
from grandopt.measurement.measure import measure
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.settings import MeasurementSettings
from tests.fakes_measurement import LOADER, ring, subject

SHORT = MeasurementSettings(window_ms=1.0, rounds=12, max_seconds=0.6, processes=1)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, loader=LOADER, grace_s=20.0) as workers:
        yield workers


def test_twice_as_slow_is_a_ratio_of_two(tmp_path: Path, pool: WorkerPool) -> None:
    slow, fast = subject(tmp_path, "slow", "spin", us=200), subject(tmp_path, "fast", "spin", us=100)
    found = measure([slow, fast], ring(), MeasurementSettings.quick(processes=2, rounds=10), pool)

    ratio = found.ratio("slow", "fast")
    assert 1.6 < ratio.value < 2.4
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.low > 1.2
    assert ratio.pairs == 20
    assert found.ratio("fast", "slow").value == pytest.approx(1 / ratio.value)
    assert found.noise("fast") < ratio.value - 1
    summary = found.summary("fast")
    assert summary.p50_us >= 100
    assert summary.qps == pytest.approx(1e6 / summary.mean_us)
    assert len(found.samples("fast").process_medians_ns) == 2


def test_slow_and_fast_agents_stay_within_their_time(tmp_path: Path, pool: WorkerPool) -> None:
    slow, fast = subject(tmp_path, "slow", "nap", ms=7), subject(tmp_path, "fast", "instant")
    settings = MeasurementSettings(rounds=10_000, max_seconds=1.0, processes=1)
    found = measure([slow, fast], ring(), settings, pool)

    for label in ("slow", "fast"):
        rounds = found.samples(label).processes[0].call_ns
        assert rounds.shape[0] >= 3
    spent = sum(found.samples(label).call_ns.sum() for label in ("slow", "fast")) / 1e9
    assert spent < 2 * settings.max_seconds


def test_windows_shrink_for_an_agent_that_is_too_slow(tmp_path: Path, pool: WorkerPool) -> None:
    settings = MeasurementSettings(max_seconds=0.4, processes=1)
    found = measure([subject(tmp_path, "slow", "nap", ms=20)], ring(), settings, pool)

    rounds, calls = found.samples("slow").processes[0].call_ns.shape
    assert 3 <= rounds <= 5
    assert 1 <= calls < 50
    assert found.samples("slow").calls_to_stable is None


def test_sub_microsecond_medians_come_from_blocks(tmp_path: Path, pool: WorkerPool) -> None:
    instant, spinning = subject(tmp_path, "instant", "instant"), subject(tmp_path, "spinning", "spin", us=100)
    found = measure([instant, spinning], ring(), SHORT, pool)

    fast, slow = found.samples("instant").processes[0], found.samples("spinning").processes[0]
    assert fast.block_calls > 1
    assert fast.block_ns.shape == (fast.call_ns.shape[0], fast.call_ns.shape[1] // fast.block_calls)
    assert np.median(fast.block_ns) < np.median(fast.call_ns), "single calls are charged for the clock"
    assert slow.block_calls == 1
    np.testing.assert_array_equal(slow.block_ns, slow.call_ns)
    assert fast.timer_overhead_ns > 0


def test_a_drifting_agent_is_unstable(tmp_path: Path, pool: WorkerPool) -> None:
    drifting = subject(tmp_path, "drifting", "spin", us=20, growth=1.002)
    found = measure(
        [drifting], ring(), MeasurementSettings(window_ms=0.1, rounds=6, max_seconds=0.3, processes=1), pool
    )

    assert not found.summary("drifting").stable
    assert found.samples("drifting").calls_to_stable is None


def test_a_steady_agent_is_stable(tmp_path: Path, pool: WorkerPool) -> None:
    # A disturbed machine can make any one run unstable: one of three has to be steady.
    steady = subject(tmp_path, "steady", "nap", ms=1)
    for _ in range(3):
        found = measure([steady], ring(), MeasurementSettings(rounds=4, max_seconds=3.0, processes=1), pool)
        if found.samples("steady").stable:
            break
    assert found.summary("steady").stable
    calls = found.samples("steady").calls_to_stable
    assert calls is None or calls >= 51


def test_processor_time_tells_sleeping_from_spinning(tmp_path: Path, pool: WorkerPool) -> None:
    nap, spin = subject(tmp_path, "nap", "nap", ms=1), subject(tmp_path, "spin", "spin", us=1000)
    found = measure([nap, spin], ring(), SHORT, pool)

    # A millisecond on one core is 1000 core-seconds per million calls.
    spinning, sleeping = (found.samples(label).cpu_s_per_million for label in ("spin", "nap"))
    assert 300 < spinning < 1500
    assert 0 < sleeping < spinning / 3


def test_calls_rotate_through_the_whole_ring(tmp_path: Path, pool: WorkerPool) -> None:
    diary = subject(tmp_path, "diary", "diary", file=str(tmp_path / "seen.json"))
    found = measure(
        [diary], ring(300, batch=2), MeasurementSettings.quick(batch=2, rounds=3, max_seconds=0.3), pool
    )

    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["shapes"] == [[2, 3]]
    assert len(seen["counts"]) == 300
    assert max(seen["counts"]) - min(seen["counts"]) <= 1
    assert found.ring_samples == 300
    summary = found.summary("diary")
    assert summary.qps == pytest.approx(2e6 / summary.mean_us)


def test_progress_is_told_after_each_process(tmp_path: Path, pool: WorkerPool) -> None:
    told: list[tuple[int, int]] = []
    settings = MeasurementSettings(window_ms=1.0, rounds=3, max_seconds=0.2, processes=2)
    measure(
        [subject(tmp_path, "a", "instant")],
        ring(),
        settings,
        pool,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]


def test_few_samples_leave_percentiles_null(tmp_path: Path, pool: WorkerPool) -> None:
    found = measure(
        [subject(tmp_path, "a", "nap", ms=1)],
        ring(),
        MeasurementSettings.quick(window_ms=1.0, rounds=3),
        pool,
    )
    summary = found.summary("a")
    assert summary.samples == 150
    assert summary.p90_us is not None
    assert summary.p95_us is not None
    assert summary.p99_us is None
    assert summary.p999_us is None
    assert summary.unavailable == {
        "p99_us": "needs 662 samples, has 150",
        "p999_us": "needs 6636 samples, has 150",
    }


def test_threads_reach_the_loader_and_the_libraries(tmp_path: Path, pool: WorkerPool) -> None:
    spy = subject(tmp_path, "spy", "environment")
    measure([spy], ring(), SHORT, pool)
    seen = json.loads((spy.path / "seen.json").read_text())
    assert seen["threads"] == 1
    assert seen["env"]["OMP_NUM_THREADS"] == seen["env"]["MKL_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (ring(255), "holds 255"),
        ((np.zeros((300, 3), dtype=np.float32),), "holds 1"),
        ((*ring(256), np.zeros((255, 1))), r"lengths \[255, 256\]"),
        ((np.zeros((255, 1), dtype=np.int64),), "holds 255"),
        ((), r"lengths \[\]"),
    ],
)
def test_a_ring_that_is_too_small_is_refused(
    tmp_path: Path, pool: WorkerPool, inputs: tuple[np.ndarray, ...], message: str
) -> None:
    with pytest.raises(MeasurementError, match=message):
        measure([subject(tmp_path, "a", "instant")], inputs, SHORT, pool)


def test_an_agent_with_few_discrete_observations_can_be_measured(tmp_path: Path, pool: WorkerPool) -> None:
    found = measure([subject(tmp_path, "a", "instant")], (np.arange(256).reshape(-1, 1) % 16,), SHORT, pool)
    assert found.ring_samples == 16


def test_batches_overlap_where_the_ring_is_short(tmp_path: Path, pool: WorkerPool) -> None:
    one = subject(tmp_path, "a", "instant")
    settings = MeasurementSettings(window_ms=1.0, rounds=3, max_seconds=0.2, processes=1, batch=7)
    assert measure([one], ring(256 + 6), settings, pool).ring_samples == 256
    assert measure([one], ring(256, batch=7), settings, pool).ring_samples == 256
    with pytest.raises(MeasurementError, match=r"at least 256 distinct samples.* holds 249"):
        measure([one], ring(255), settings, pool)


def test_what_cannot_be_measured_is_refused(tmp_path: Path, pool: WorkerPool) -> None:
    one = subject(tmp_path, "a", "instant")
    with pytest.raises(MeasurementError, match="at least one subject"):
        measure([], ring(), SHORT, pool)
    with pytest.raises(MeasurementError, match="labels must differ"):
        measure([one, one], ring(), SHORT, pool)
    with pytest.raises(MeasurementError, match="may use"):
        measure([one], ring(), MeasurementSettings(threads=available_cores() + 1), pool)
    with pytest.raises(MeasurementError, match="pool has 2"):
        measure([one], ring(), MeasurementSettings(processes=3), pool)
    found = measure([one], ring(), SHORT, pool)
    with pytest.raises(MeasurementError, match="'b' was not measured; this run holds a"):
        found.summary("b")


@pytest.mark.parametrize(
    "fields", [{"window_calls": 49}, {"threads": 0}, {"processes": 0}, {"rounds": 2}, {"max_seconds": 0.0}]
)
def test_settings_are_checked(fields: dict[str, int]) -> None:
    with pytest.raises(MeasurementError, match=next(iter(fields))):
        MeasurementSettings(**fields)
