"""The machine's limit."""

from __future__ import annotations

import pytest

from grandopt.measurement.limit import WORKING_SETS, MachineLimit, machine_limit


def test_this_machine_has_a_limit() -> None:
    found = machine_limit()
    assert tuple(size for size, _ in found.speeds) == WORKING_SETS
    # Between a slow single-board computer and several times today's fastest core.
    assert all(0.2 < speed < 3000 for _, speed in found.speeds)
    assert 0.2 < found.peak_gflop_s < 3000
    assert found.limit_us(4_000_000, 2_000_000) > found.limit_us(40_000, 20_000) > 0


def test_the_larger_of_reading_and_arithmetic_counts() -> None:
    limit = MachineLimit(((1000, 100.0), (10_000, 10.0)), peak_gflop_s=50.0)
    assert limit.bandwidth_gb_s(1000) == 100.0
    assert limit.bandwidth_gb_s(1001) == 10.0
    assert limit.bandwidth_gb_s(99_999) == 10.0
    assert limit.limit_us(10_000, 0) == pytest.approx(1.0)  # 10 kB at 10 GB/s
    assert limit.limit_us(1000, 100_000) == pytest.approx(2.0)  # 100 kFLOP at 50 GFLOP/s
