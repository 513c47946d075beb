"""The batch curve: real points from a worker process, and the line through them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import TorchScriptOptions
from grandopt.errors import MeasurementError
from grandopt.measurement.curve import Point, curves, fitted
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.subject import Subject
from tests.small_agents import Policy, program


def points(times: dict[int, float]) -> list[Point]:
    return [Point(batch, us, batch / us * 1e6, 10, True) for batch, us in times.items()]


def test_the_line_through_points_of_a_line() -> None:
    line = fitted(points({n: 0.5 * n + 10.0 for n in (1, 2, 4, 256)}))
    assert line is not None
    assert line.per_observation_us == pytest.approx(0.5)
    assert line.fixed_us == pytest.approx(10.0)
    assert line.worst == pytest.approx(0.0, abs=1e-9)


def test_small_batches_count_as_much_as_large_ones() -> None:
    # One tenth too slow at the largest batch: unweighted, the fit would sacrifice the small ones to it.
    line = fitted(points({1: 11.0, 2: 12.0, 4: 14.0, 8: 18.0, 256: 266.0 * 1.1}))
    assert line is not None
    assert line.worst < 0.1
    assert line.per_observation_us + line.fixed_us == pytest.approx(11.0, rel=0.05)
    assert fitted(points({1: 1.0, 2: 2.0})) is None


def test_a_real_curve(tmp_path: Path) -> None:
    artifact = build(program(Policy), Candidate("float32", TorchScriptOptions()), Store(tmp_path))
    ring = [np.random.default_rng(0).standard_normal((512, 8)).astype(np.float32)]
    subjects = [Subject("a", artifact.path), Subject("b", artifact.path)]
    with WorkerPool(1) as pool:
        first, second = curves(subjects, ring, pool, batches=(1, 16, 256))
        assert [point.batch for point in first.points] == [1, 16, 256]
        assert all(point.p50_us > 0 and point.calls >= 3 for point in (*first.points, *second.points))
        assert first.points[-1].throughput > first.points[0].throughput
        assert first.line is not None
        assert first.reason is None
        rushed, _ = curves(subjects, ring, pool, batches=(1, 16, 256), max_seconds=0.001)
        assert len(rushed.points) < 3
        assert rushed.reason is not None
        assert "no time for batches of" in rushed.reason
        with pytest.raises(MeasurementError, match="need 768 samples, got 512"):
            curves(subjects, ring, pool, batches=(512,))
