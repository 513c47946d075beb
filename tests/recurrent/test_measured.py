"""Measuring an agent with state: by the steps of a session, its state fed back; batches by plain calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import EngineError, MeasurementError
from grandopt.measurement.cold import cold_start
from grandopt.measurement.curve import curves
from grandopt.measurement.measure import measure
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec

LOADER = "tests.recurrent.test_measured:load"
SHORT = MeasurementSettings(window_ms=1.0, rounds=3, max_seconds=0.3, processes=1)


class Chained(Executor):
    """Refuses a call whose state is not what it gave before; begins with 7."""

    def __init__(self, *, strict: bool) -> None:
        count = TensorSpec("count", (1,))
        super().__init__(
            Signature(
                (count, TensorSpec("obs", (2,))), (TensorSpec("action", (2,)), TensorSpec("next", (1,)))
            ),
            Contract(state=(StateTensor("count", "next", 7.0),)),
        )
        self.strict, self.expected = strict, 7.0

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        count, obs = inputs
        if self.strict and not (count == self.expected).all():
            raise EngineError(f"the state is {count.tolist()} and should be {self.expected}")
        self.expected = (self.expected + 1) % 1000
        return obs * 2, np.full_like(count, self.expected)


def load(path: Path, *, trust: bool = False, threads: int | None = None) -> Executor:
    """The loader that the tests name to the pool."""
    return Chained(strict=path.name == "strict")


def subject(folder: Path, name: str) -> Subject:
    place = folder / name
    place.mkdir()
    return Subject(name, place)


def ring(rows: int) -> tuple[Array, ...]:
    """Drawn states and observations, as `inputs.ring` makes them."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((rows, size)).astype(np.float32) for size in (1, 2))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_state_rotates_through_the_measured_calls(tmp_path: Path, batch: int) -> None:
    settings = MeasurementSettings(window_ms=1.0, rounds=3, max_seconds=0.3, processes=1, batch=batch)
    with WorkerPool(1, loader=LOADER) as pool:
        found = measure([subject(tmp_path, "strict")], ring(256 * batch), settings, pool)
    assert found.samples("strict").call_ns.size > 0
    assert cold_start(Subject("strict", tmp_path / "strict"), ring(1), loader=LOADER).first_call_ms > 0


def test_a_curve_is_of_plain_calls(tmp_path: Path) -> None:
    with WorkerPool(1, loader=LOADER) as pool:
        (found,) = curves([subject(tmp_path, "plain")], ring(512), pool, batches=(1, 16, 256))
        assert [point.batch for point in found.points] == [1, 16, 256]
        with pytest.raises(MeasurementError, match="the state is"):
            curves([subject(tmp_path, "strict")], ring(512), pool, batches=(1, 16))
