"""The words for a report."""

from __future__ import annotations

import pytest

from grandopt.reporting.report import RatioReport, TargetsReport
from grandopt.reporting.units import duration, rate, ratio, size
from grandopt.reporting.verdict import counts, target_misses, verdict
from tests.reporting.samples import failed, figures, kept, optimized, shipped, speedup


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0.0, "0 ns"),
        (0.4, "400 ns"),
        (1.0, "1.00 µs"),
        (9.996, "10.0 µs"),
        (52.14, "52.1 µs"),
        (999.4, "999 µs"),
        (999.6, "1.00 ms"),
        (1200.0, "1.20 ms"),
        (1.5e6, "1.50 s"),
        (6.025e7, "60.2 s"),
    ],
)
def test_duration(microseconds: float, text: str) -> None:
    assert duration(microseconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (950.4, "950"), (999.7, "1.00k"), (1.2e6, "1.20M")])
def test_rate(value: float, text: str) -> None:
    assert rate(value) == text


@pytest.mark.parametrize(("value", "text"), [(950, "950 B"), (86_000, "86.0 kB"), (3e9, "3.00 GB")])
def test_size(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.9, 1.8, 2.0, "1.9× (1.8–2.0)"),
        (1.004, 1.002, 1.006, "1.004× (1.002–1.006)"),
        (12.2, 11.0, 13.5, "12× (11–14)"),
        (2.4, 1.8, 3.2, "2.4× (1.8–3.2)"),
        (1.5, 1.5, 1.5, "1.50× (1.50–1.50)"),
    ],
)
def test_a_ratio_is_shown_to_the_digits_that_its_interval_supports(
    value: float, low: float, high: float, text: str
) -> None:
    assert ratio(RatioReport(value=value, low=low, high=high, pairs=9)) == text


def test_verdict_of_an_optimized_agent() -> None:
    assert verdict(optimized(speedup=speedup(1.9))) == "1.9× faster (1.8–2.0), torchscript int8_dynamic"


def test_verdict_names_missed_targets_and_instability() -> None:
    agent = optimized(
        targets=TargetsReport(latency_ms=0.02, met=False, misses=("p50 25.0 µs, wanted 20.0 µs",)),
        shipped=shipped(figures=figures(25.0, stable=False)),
    )
    assert verdict(agent).endswith("; target missed: p50 25.0 µs, wanted 20.0 µs; measurement unstable")


def test_a_verdict_names_what_the_run_before_had_no_time_for() -> None:
    ends = {1: "went on with 1 candidate that the run before had no time for", 5: "with 5 candidates that"}
    for count, words in ends.items():
        assert words in verdict(optimized(continued=count))
    assert "went on" not in verdict(optimized(continued=0))


def test_verdict_of_the_others_is_their_reason() -> None:
    assert verdict(kept()) == "original kept: nothing was faster"
    assert verdict(failed()) == "failed: models/fvg.pth: no such file"


def test_target_misses() -> None:
    assert target_misses(figures(1000.0), 1.0, 1000) == ()
    assert target_misses(figures(1500.0), 1.0, 1000) == (
        "p50 1.50 ms, wanted 1.00 ms",
        "throughput 667/s, wanted 1.00k/s",
    )
    assert target_misses(figures(1500.0), None, None) == ()
    assert target_misses(figures(1.0, qps=None), None, 10) == ("throughput not measured, wanted 10/s",)
    assert target_misses(figures(1.0, resident_mb=250.0), None, None, 500) == ()
    assert target_misses(figures(1.0, resident_mb=900.0), None, None, 500) == (
        "memory 900 MB, wanted at most 500 MB",
    )
    assert target_misses(figures(1.0, resident_mb=None), None, None, 500) == (
        "memory not measured, wanted at most 500 MB",
    )


def test_counts() -> None:
    assert counts([optimized(), optimized("b"), kept()]) == "2 optimized, 1 original kept"
    assert counts([]) == "no agents"
