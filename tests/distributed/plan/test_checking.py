"""The search for what a replica carries by load, and what a check comes to."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from grandopt.distributed.plan.checking import PRECISION, Checked, CheckedLoad, highest_kept
from grandopt.errors import MeasurementError
from grandopt.measurement.load.base import Load
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.settings import LoadSettings
from tests.distributed.plan.replicas import inline

LIMIT_NS = 5e6


class Known(Load):
    """A target whose p99 passes the limit at a known rate."""

    def __init__(self, carries: float) -> None:
        super().__init__(lambda *_: None, list(range(256)), LoadSettings())
        self.carries = carries

    async def closed(self, callers: int) -> LoadResult:
        raise NotImplementedError

    async def _open(self, due_ns: np.ndarray, end_ns: int, rate: float | None) -> LoadResult:
        assert rate is not None
        took = LIMIT_NS * 0.9 if rate <= self.carries else LIMIT_NS * 1.1
        return LoadResult(
            kind="open loop",
            due_ns=due_ns,
            started_ns=due_ns,
            ended_ns=due_ns + int(took),
            outcomes=np.full(due_ns.size, Outcome.ANSWERED, dtype=np.uint8),
            priorities=np.ones(due_ns.size, dtype=np.uint8),
            window_ns=(self.settings.warmup_ns, end_ns),
            rate=rate,
        )


@pytest.mark.parametrize("begin", [700.0, 2000.0, 4500.0])
def test_the_highest_rate_is_found_from_below_and_above(begin: float) -> None:
    found = asyncio.run(highest_kept(Known(2000.0), begin, LIMIT_NS))
    assert found == pytest.approx(2000.0, rel=PRECISION - 1)


def test_a_limit_that_no_rate_keeps_is_said() -> None:
    with pytest.raises(MeasurementError, match="no rate was found that keeps a p99 of 5 ms"):
        asyncio.run(highest_kept(Known(0.0), 5000.0, LIMIT_NS))


@pytest.mark.parametrize(
    ("found", "off", "holds"), [(90.0, -0.1, True), (114.0, 0.14, True), (80.0, -0.2, False)]
)
def test_replicas_are_compared_before_they_are_rounded(found: float, off: float, holds: bool) -> None:
    load = CheckedLoad(p99_ms=5.0, qps=150.0, planned_rate=100.0, formula_rate=100.0, found_rate=found)
    assert load.planned == 1.5
    assert load.off == pytest.approx(off)
    assert load.holds is holds
    assert Checked(inline(), (load,), busy=False).holds is holds
