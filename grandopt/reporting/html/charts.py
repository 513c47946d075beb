"""The charts of a report. Each returns SVG, or None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from grandopt.reporting.evidence import TuningRecord
from grandopt.reporting.figures import PERCENTILES, CurveReport, Figures
from grandopt.reporting.html.axes import drawable, label_log, legend, name_percentiles, name_rows, short
from grandopt.reporting.html.drawing import (
    AFTER,
    BEFORE,
    MUTED,
    OTHER,
    ROW,
    SECOND,
    Drawings,
)
from grandopt.reporting.units import duration, size

LEGEND_ROW = 0.17  # inches


@dataclass(frozen=True)
class Row:
    """One row of a chart of rows: a name, a figure, an optional interval around it, and its colour."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    colour: str = OTHER

    @property
    def ends(self) -> tuple[float, ...]:
        """The figure and the ends of its interval."""
        return (self.value, *(end for end in (self.low, self.high) if end is not None))


@dataclass(frozen=True)
class ChartLine:
    """One engine's figures under the name and colour that it has in every chart."""

    name: str
    figures: Figures
    colour: str


def latency(drawings: Drawings, lines: Sequence[ChartLine], description: str) -> Markup | None:
    """The share of calls that took longer than a latency, on a log axis, so that the tail can be read."""
    drawn = [(line, found) for line in lines if (found := points(line.figures))]
    if not drawn:
        return None
    with drawings.chart(2.7 + LEGEND_ROW * len(drawn), description) as chart:
        axes = chart.axes
        least = 0.1
        for index, (line, found) in enumerate(drawn):
            us = [latency for _, latency in found]
            beyond = [1.0 - share for share, _ in found]
            least = min(least, *beyond)
            axes.plot(us, beyond, color=line.colour, label=short(line.name), marker=_marker(us, index), ms=3)
        axes.set_yscale("log")
        axes.set_ylim(1.2, least / 1.3)
        name_percentiles(axes, least)
        axes.set_xscale("log")
        label_log(axes, "x", duration)
        axes.set_xlabel("latency of a call")
        legend(chart)
    return chart.svg


def points(figures: Figures) -> list[tuple[float, float]]:
    """Shares of calls and the latencies in µs that they do not exceed; percentiles where nothing else is."""
    if figures.distribution is not None:
        known = list(zip(figures.distribution.shares, figures.distribution.us, strict=True))
    else:
        names = zip(PERCENTILES, (0.9, 0.95, 0.99, 0.999), strict=True)
        known = [(0.5, figures.p50_us), *((share, getattr(figures, name)) for name, share in names)]
    return [(share, us) for share, us in known if drawable(us)]


def speedups(drawings: Drawings, rows: Sequence[Row], description: str) -> Markup | None:
    """Speed-ups with their intervals, on a log axis, beside the line of the original."""
    return _rows(drawings, rows, description, "times as fast as the original")


def errors(drawings: Drawings, rows: Sequence[Row], description: str) -> Markup | None:
    """Errors as multiples of their limits, on a log axis, beside the line that they must not cross."""
    return _rows(drawings, rows, description, "error ÷ limit (left of 1 passes)")


def machine_limit(drawings: Drawings, rows: Sequence[Row], description: str) -> Markup | None:
    """Medians as multiples of the least that the machine could need."""
    return _rows(drawings, rows, description, "median latency ÷ machine's limit")


def start_up(drawings: Drawings, lines: Sequence[ChartLine], description: str) -> Markup | None:
    """Process start to first result, loading, and first call, of each engine, in time on a log axis."""
    kinds = {"process to first result": "process_ms", "loading": "load_ms", "first call": "first_call_ms"}
    return _compared(drawings, lines, kinds, 1e3, duration, description)


def memory(drawings: Drawings, lines: Sequence[ChartLine], description: str) -> Markup | None:
    """The resident set of a fresh process of each engine, in bytes on a log axis."""
    return _compared(drawings, lines, {"fresh process": "resident_mb"}, 1e6, size, description)


def batches(drawings: Drawings, curves: Sequence[CurveReport], description: str) -> Markup | None:
    """The latency of one call over its batch size, both on log axes, with the fitted line."""
    drawn = [
        (curve, found)
        for curve in curves
        if (found := [(point.batch, point.p50_us) for point in curve.points if drawable(point.p50_us)])
    ]
    if not drawn:
        return None
    with drawings.chart(2.3 + LEGEND_ROW * len(drawn), description) as chart:
        axes = chart.axes
        for (curve, found), colour in zip(drawn, cycle((AFTER, SECOND, BEFORE, OTHER)), strict=False):
            axes.plot(*zip(*found, strict=True), "o", ms=4, color=colour, label=short(curve.label))
            if curve.per_observation_us is not None and curve.fixed_us is not None:
                line = [(size, curve.per_observation_us * size + curve.fixed_us) for size, _ in found]
                if all(drawable(us) for _, us in line):
                    axes.plot(*zip(*line, strict=True), color=colour, lw=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
        label_log(axes, "y", duration)
        axes.set_xlabel("observations in a call")
        legend(chart)
    return chart.svg


def trials(drawings: Drawings, found: TuningRecord, description: str) -> Markup | None:
    """The score of every trial in the order of the study, and the best complete one so far."""
    scored = [(trial.number, trial.score, trial.state) for trial in found.trials if drawable(trial.score)]
    if not scored:
        return None
    with drawings.chart(2.7, description) as chart:
        axes = chart.axes
        for state, colour, marker in (("complete", AFTER, "o"), ("pruned", OTHER, "x")):
            mine = [(number, score) for number, score, which in scored if which == state]
            if mine:
                axes.plot(*zip(*mine, strict=True), marker, color=colour, label=state, ms=4.5)
        complete = [(number, score) for number, score, state in scored if state == "complete"]
        best = [
            (number, min(score for _, score in complete[: at + 1])) for at, (number, _) in enumerate(complete)
        ]
        if best:
            axes.step(*zip(*best, strict=True), where="post", color=AFTER, lw=1, label="best so far")
        axes.set_yscale("log")
        label_log(axes, "y", duration if found.goal == "latency" else _plain)
        axes.set_xlabel("trial")
        axes.set_ylabel(f"score for {found.goal}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(chart)
    return chart.svg


def importance(drawings: Drawings, shares: dict[str, float], description: str) -> Markup | None:
    """How much of the difference between trials each parameter explains."""
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    with drawings.chart(0.75 + 0.28 * len(ranked), description) as chart:
        chart.axes.barh(range(len(ranked)), [share for _, share in ranked], color=AFTER, height=0.6)
        name_rows(chart.axes, [name for name, _ in ranked])
        chart.axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        chart.axes.set_xlim(0, 1)
    return chart.svg


def _compared(
    drawings: Drawings,
    lines: Sequence[ChartLine],
    kinds: dict[str, str],
    unit: float,
    words: Callable[[float], str],
    description: str,
) -> Markup | None:
    """One row for each kind of figure (name: field), one point in it for each engine, in `unit`s."""
    found = [
        (line, name, value * unit)
        for line in lines
        for name, field in kinds.items()
        if drawable(value := getattr(line.figures, field))
    ]
    names = [name for name in kinds if any(name == owner for _, owner, _ in found)]
    drawn = [line for line in lines if any(line is owner for owner, _, _ in found)]
    if not found:
        return None
    with drawings.chart(0.8 + 0.3 * len(names) + LEGEND_ROW * len(drawn), description) as chart:
        axes = chart.axes
        for line in drawn:
            mine = [(value, names.index(name)) for owner, name, value in found if owner is line]
            axes.plot(*zip(*mine, strict=True), "o", color=line.colour, label=short(line.name))
        name_rows(axes, names)
        axes.set_xscale("log")
        label_log(axes, "x", words)
        legend(chart)
    return chart.svg


def _rows(drawings: Drawings, rows: Sequence[Row], description: str, axis: str) -> Markup | None:
    """Points (with intervals) on a log axis, one row each, and a line at 1."""
    shown = [row for row in rows if all(drawable(end) for end in row.ends)]
    if not shown:
        return None
    with drawings.chart(0.75 + ROW * len(shown), description) as chart:
        axes = chart.axes
        axes.axvline(1.0, color=MUTED, lw=1, ls="--")
        for at, row in enumerate(shown):
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [at, at], color=row.colour, lw=3, solid_capstyle="butt")
            axes.plot([row.value], [at], "o", color=row.colour, ms=5)
        name_rows(axes, [row.name for row in shown])
        axes.set_xscale("log")
        values = [1.0, *(end for row in shown for end in row.ends)]
        axes.set_xlim(min(values) / 1.5, max(values) * 1.5)
        label_log(axes, "x", _times)
        axes.set_xlabel(axis)
    return chart.svg


def _marker(us: Sequence[float], index: int) -> str:
    return "" if len(us) > len(PERCENTILES) + 1 else "osD^v"[index % 5]


def _times(value: float) -> str:
    return f"{value:g}×"


def _plain(value: float) -> str:
    return f"{value:g}"
