"""The chart of an agent under load."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from markupsafe import Markup

from grandopt.reporting.html.axes import drawable, label_log, legend, short
from grandopt.reporting.html.drawing import AFTER, BEFORE, MUTED, OTHER, SECOND, Drawings
from grandopt.reporting.load import LoadCurveReport, factors
from grandopt.reporting.units import duration, rate

COLOURS = (AFTER, SECOND, BEFORE, OTHER)
LEGEND_ROW = 0.17  # inches


def under_load(drawings: Drawings, curves: Sequence[LoadCurveReport], description: str) -> Markup | None:
    """The latency over the answers a second, both on log axes: p99 as a line, p50 dashed below it.

    Points are joined in the order of their rates: beyond saturation a curve climbs, and may turn back. Where
    answers have a deadline, that is a line across.
    """
    drawn = [
        (curve, colour) for curve, colour in zip(curves, cycle(COLOURS), strict=False) if _has_points(curve)
    ]
    if not drawn:
        return None
    with drawings.chart(2.9 + LEGEND_ROW * len(drawn), description) as chart:
        axes = chart.axes
        for curve, colour in drawn:
            tails, middles = _points(curve, "p99_us"), _points(curve, "p50_us")
            if middles:
                axes.plot(*zip(*middles, strict=True), "--", color=colour, lw=1)
            if tails:
                axes.plot(*zip(*tails, strict=True), "o-", color=colour, ms=3.5, label=short(curve.label))
            else:
                axes.plot([], [], "--", color=colour, lw=1, label=short(f"{curve.label}, p50"))
        deadlines = {1e3 * curve.deadline_ms for curve, _ in drawn if drawable(curve.deadline_ms)}
        for us in deadlines:
            axes.axhline(us, color=MUTED, lw=1, ls=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        label_log(axes, "x", rate)
        label_log(axes, "y", duration)
        axes.set_xlabel("answers a second")
        legend(chart)
    return chart.svg


def load_note(curves: Sequence[LoadCurveReport]) -> str:
    """How to read the chart, what each way sustains, and what was not measured."""
    parts = ["Latency from when a request was due; lines are p99, dashed p50."]
    if any(curve.deadline_ms for curve in curves):
        parts.append("The dotted line is the deadline.")
    sustained = [
        f"{curve.label} {rate(curve.saturation)}/s" for curve in curves if curve.saturation is not None
    ]
    if sustained:
        parts.append(f"Sustained: {', '.join(sustained)}.")
    parts += [f"{curves[0].label}: {factor:.3g}× {label}." for label, factor in factors(tuple(curves))]
    late = [curve.label for curve in curves if any(not point.kept_up for point in curve.points)]
    if late:
        parts.append(
            f"At some points requests were made late, so that there was less load than asked for: "
            f"{', '.join(late)}."
        )
    parts += [f"{curve.label}: {curve.reason}." for curve in curves if curve.reason]
    return " ".join(parts)


def _has_points(curve: LoadCurveReport) -> bool:
    return bool(_points(curve, "p50_us"))


def _points(curve: LoadCurveReport, name: str) -> list[tuple[float, float]]:
    found = [(point.achieved, getattr(point, name)) for point in curve.points]
    return [(answers, us) for answers, us in found if drawable(answers) and drawable(us)]
