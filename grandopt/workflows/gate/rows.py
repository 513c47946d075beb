"""The rows of the gate for figures without noise, and for those that were not compared."""

from __future__ import annotations

from collections.abc import Mapping

from grandopt.config.gate import MAX_REGRESSION, GateFigure
from grandopt.reason import Reason, reason_fields
from grandopt.reporting.gate.result import FigureReport, Unit

UNITS: dict[GateFigure, Unit] = {
    "p50": "µs",
    "p99": "µs",
    "memory": "MB",
    "size": "bytes",
    "accuracy": "relative L2",
    "cold_start": "ms",
    "instructions": "instructions",
}


def exact(
    figure: GateFigure, limit: float, baseline: float, candidate: float, reason: str | None = None
) -> FigureReport:
    """The row of a figure without noise; for accuracy the sides are errors, and the change is absolute."""
    change = candidate - baseline if figure == "accuracy" else candidate / baseline - 1 if baseline else 0.0
    return FigureReport(
        figure=figure,
        outcome="regression" if change > limit else "pass",
        limit=limit,
        unit=UNITS[figure],
        baseline=baseline,
        candidate=candidate,
        change=change,
        reason=reason,
    )


def sized(limits: Mapping[GateFigure, float], baseline: float, candidate: float) -> FigureReport:
    """The row of the size on disk. It counts only where there is a limit for it: a faster build may well be a
    larger one."""
    row = exact("size", limits.get("size", MAX_REGRESSION), baseline, candidate)
    return row.model_copy(update={"advisory": "size" not in limits})


def skipped(figure: GateFigure, limit: float, reason: Reason) -> FigureReport:
    """The row of a figure that nobody wants to be compared, or that counts for nothing."""
    return FigureReport(
        figure=figure, outcome="skipped", limit=limit, unit=UNITS[figure], **reason_fields(reason)
    )


def unchecked(figure: GateFigure, limit: float, reason: Reason) -> FigureReport:
    """The row of a figure that is held to a limit and could not be compared: that is no pass."""
    return FigureReport(
        figure=figure, outcome="inconclusive", limit=limit, unit=UNITS[figure], **reason_fields(reason)
    )
