"""What the charts' axes have in common: what can be drawn on a log axis, and how it is labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeGuard

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from grandopt.reporting.html.drawing import Chart
from grandopt.reporting.log import one_line

LABEL = 30  # characters of a name beside a row; the tables hold it whole
DRAWABLE = (1e-12, 1e12)
PERCENTILES = {0.5: "p50", 0.1: "p90", 0.01: "p99", 1e-3: "p99.9", 1e-4: "p99.99", 1e-5: "p99.999"}


def drawable(value: float | None) -> TypeGuard[float]:
    """Whether a figure has a place on a log axis; what lies beyond stands in the tables only."""
    return value is not None and DRAWABLE[0] <= value <= DRAWABLE[1]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, … from the top down."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def name_percentiles(axes: Axes, least: float) -> None:
    """Name the shares of calls beyond, down to `least`, by the percentiles that they belong to."""
    shown = [share for share in PERCENTILES if share >= least / 1.3]
    axes.yaxis.set_major_locator(FixedLocator(shown))
    axes.yaxis.set_major_formatter(FixedFormatter([PERCENTILES[share] for share in shown]))
    axes.yaxis.set_minor_locator(NullLocator())


def label_log(axes: Axes, which: Literal["x", "y"], words: Callable[[float], str]) -> None:
    """Label a log axis in words; below two decades or so also between the powers of ten."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 60 * low else (1.0,), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_formatter(NullFormatter())


def legend(chart: Chart) -> None:
    """Name the lines above the axes, one below the other, so that long names fit."""
    chart.figure.legend(loc="outside upper left", ncols=1)


def short(name: str) -> str:
    """A name as it fits beside a row, without what XML could not hold."""
    text = one_line(name)
    text = text if len(text) <= LABEL else text[: LABEL - 1] + "…"
    # A leading "_" would make matplotlib leave the name out of the legend.
    return "\u200b" + text if text.startswith("_") else text
