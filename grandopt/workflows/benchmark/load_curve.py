"""From the runs of one way of serving to its curve in a report; no figure is made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.saturation import Saturation
from grandopt.measurement.load.settings import LoadSettings
from grandopt.reporting.load import Arrivals, LoadCurveReport, LoadPointReport

PERCENTILES = {"p50_us": 50.0, "p90_us": 90.0, "p95_us": 95.0, "p99_us": 99.0, "p999_us": 99.9}


def curve_report(
    label: str,
    arrivals: Arrivals,
    settings: LoadSettings,
    runs: Sequence[LoadResult] = (),
    found: Saturation | None = None,
    reason: str | None = None,
) -> LoadCurveReport:
    """The curve; `reason` says why there are no runs."""
    return LoadCurveReport(
        label=label,
        arrivals=arrivals,
        seconds=settings.seconds,
        warmup_s=settings.warmup_s,
        deadline_ms=None if settings.deadline_s is None else 1e3 * settings.deadline_s,
        saturation=None if found is None else found.rate,
        above=None if found is None else found.above,
        criterion=None if found is None else found.criterion,
        points=tuple(point(run) for run in runs),
        reason=reason,
    )


def point(run: LoadResult) -> LoadPointReport:
    """One run."""
    percentiles: dict[str, Any] = {name: run.percentile_us(percent) for name, percent in PERCENTILES.items()}
    counts: dict[str, Any] = {outcome.name.lower(): run.count(outcome) for outcome in Outcome}
    missing = {name: run.unavailable(percent) for name, percent in PERCENTILES.items()}
    return LoadPointReport(
        rate=run.rate,
        callers=run.callers,
        offered=run.offered,
        achieved=run.achieved,
        goodput=None if run.deadline_ns is None else run.goodput(),
        requests=run.count(),
        **counts,
        **percentiles,
        unavailable={name: reason for name, reason in missing.items() if reason is not None},
        lateness_p50_us=run.lateness_us(50.0),
        lateness_p99_us=run.lateness_us(99.0),
        kept_up=run.kept_up,
        sustained=run.sustained,
        errors=dict(run.errors),
    )
