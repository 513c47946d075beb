"""The search for the highest valid rate, and what LoadGen's log says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.errors import ConfigError
from grandopt.suites.serving.mlperf import LOWEST, PACKAGE, PRECISION, highest_valid, loadgen_version


@given(st.floats(LOWEST * 1.6, 1e6), st.floats(1e3, 1e5))
def test_the_border_is_found_from_any_start(border: float, start: float) -> None:
    asked: list[float] = []

    def valid(rate: float) -> bool:
        asked.append(rate)
        return rate <= border

    found = highest_valid(valid, start)
    assert found is not None
    assert border / PRECISION <= found <= border
    assert asked.count(found) >= 2
    assert len(asked) < 40


def test_one_lucky_run_is_not_enough() -> None:
    lucky = iter([True])

    def valid(rate: float) -> bool:
        return rate <= 10_000 or (rate == 15_000 and next(lucky, False))

    found = highest_valid(valid, 10_000)
    assert found is not None
    assert found <= 10_000 * PRECISION


def test_what_is_never_valid_has_no_rate() -> None:
    assert highest_valid(lambda _: False, 20_000) is None


def test_loadgen_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from grandopt.suites.serving import mlperf

    monkeypatch.setattr(mlperf, "PACKAGE", "no-such-package-here")
    with pytest.raises(ConfigError, match="pip install no-such-package-here"):
        loadgen_version()


def test_a_log_becomes_a_verdict() -> None:
    pytest.importorskip("mlperf_loadgen", reason=f"{PACKAGE} is not installed")
    from grandopt.errors import MeasurementError
    from grandopt.suites.serving.worker.mlperf import MARK, verdict

    values = {
        "result_validity": "INVALID",
        "result_scheduled_samples_per_sec": 1950.2,
        "result_completed_samples_per_sec": 1949.0,
        "result_99.00_percentile_latency_ns": 61_003_225,
        "result_query_count": 5853,
    }
    lines = [MARK + json.dumps({"key": key, "value": value}) for key, value in values.items()]
    found = verdict("\n".join(["noise", *lines]))
    assert (found.valid, found.p99_s, found.queries) == (False, 0.061003225, 5853)
    with pytest.raises(MeasurementError, match="result_query_count"):
        verdict("\n".join(lines[:-1]))
