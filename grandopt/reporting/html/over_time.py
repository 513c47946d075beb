"""The chart of an agent over its runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from grandopt.reporting.history.records import Record
from grandopt.reporting.history.series import Series, value
from grandopt.reporting.html.axes import drawable, legend
from grandopt.reporting.html.drawing import AFTER, BAD, BEFORE, Drawings
from grandopt.reporting.units import duration

LEAST = 2
"""Runs that make a line."""

DATES = 3
"""Runs whose dates stand below the line; more would not fit on a phone."""


def over_time(drawings: Drawings, series: Series, description: str) -> Markup | None:
    """The median latency of what was shipped, run by run, with a line where its level changed.

    The original's is drawn as well, scaled to the same height: where both move, it was the machine.
    """
    known = [(record, found) for record in series.records if drawable(found := value(record, "p50"))]
    if len(known) < LEAST:
        return None
    with drawings.chart(2.3, description) as chart:
        axes = chart.axes
        before = _scaled(known)
        if before:
            axes.plot(*zip(*before, strict=True), color=BEFORE, lw=1, label="original, scaled")
        marker = "o" if len(known) <= 40 else ""
        axes.plot(
            range(len(known)), [us for _, us in known], color=AFTER, marker=marker, ms=3, label="shipped"
        )
        places = {id(record): index for index, (record, _) in enumerate(known)}
        marks = [places[id(change.record)] for change in series.changes if id(change.record) in places]
        for number, at in enumerate(marks):
            axes.axvline(at - 0.5, color=BAD, lw=1, ls="--", label="a change" if number == 0 else None)
        _date(axes, [record for record, _ in known])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda us, _: duration(us) if us > 0 else ""))
        axes.set_xlabel("runs on this machine")
        legend(chart)
    return chart.svg


def _scaled(known: Sequence[tuple[Record, float]]) -> list[tuple[int, float]]:
    """The original's medians by run, times what brings their middle to that of what was shipped."""
    originals = [
        (index, us) for index, (record, _) in enumerate(known) if drawable(us := record.agent.original_p50_us)
    ]
    if len(originals) < LEAST:
        return []
    factor = median(us for _, us in known) / median(us for _, us in originals)
    return [(index, us * factor) for index, us in originals]


def _date(axes: Axes, records: Sequence[Record]) -> None:
    last = len(records) - 1
    shown = sorted({round(last * step / (DATES - 1)) for step in range(DATES)})
    axes.set_xticks(shown, [records[index].run.started[:10] for index in shown])
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")  # so that the outer dates stay within the chart
    labels[-1].set_horizontalalignment("right")
