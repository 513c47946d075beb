"""The machine's limit in words: at each precision, what sets it, and what was measured below it."""

from __future__ import annotations

from collections.abc import Iterator

from grandopt.reporting.figures import Figures, LimitReport
from grandopt.reporting.report import AgentReport
from grandopt.reporting.units import duration


def limit_rows(agent: AgentReport) -> list[tuple[str, str]]:
    """The machine's limit at each precision, those with the same limit together: names, and words for it.

    An earlier report has one, without a name.
    """
    if not agent.limits:
        us = None if agent.original is None else agent.original.limit_us
        return [] if us is None else [("", f"{duration(us)} a call")]
    found: dict[tuple[float, str], list[LimitReport]] = {}
    for limit in agent.limits:
        found.setdefault((limit.us, limit.bound), []).append(limit)
    return [
        (
            " and ".join(limit.precision for limit in limits),
            f"{duration(limits[0].us)} a call ({limit_words(limits[0])})",
        )
        for limits in found.values()
    ]


def below_limit(agent: AgentReport) -> Iterator[str]:
    """A line for each figure that is below the machine's limit: that one was not measured as it is."""
    for name, figures, limit in _below(agent):
        kind = "a fault of the limit" if limit.source == "kernels" else f"which is that of {limit.source}"
        yield (
            f"{name}: p50 {duration(figures.p50_us)} is below the machine's limit of {duration(limit.us)} "
            f"({limit_words(limit)}): {kind}"
        )


def is_wrong(agent: AgentReport) -> bool:
    """Whether something was faster than our own kernels say that it can be."""
    return any(limit.source == "kernels" for *_, limit in _below(agent))


def _below(agent: AgentReport) -> Iterator[tuple[str, Figures, LimitReport]]:
    shipped = None if agent.shipped is None else agent.shipped.label
    rows = [(row.label, row.figures) for row in agent.candidates if row.label != shipped]
    if agent.shipped is not None:
        rows.insert(0, (agent.shipped.label, agent.shipped.figures))
    for name, figures in [("original", agent.original), *rows]:
        if figures is not None and figures.below_limit and figures.limit is not None:
            yield name, figures, figures.limit


def limit_words(limit: LimitReport) -> str:
    """What sets a limit: "bfloat16 weights from as far as L2 at 99 GB/s, x86-64-v3"."""
    if limit.bound == "reading":
        words = f"{limit.precision} weights from as far as {limit.cache} at {limit.speed:.3g} GB/s"
    else:
        words = f"{limit.precision} arithmetic at {limit.speed:.3g} Gop/s"
    threads = "" if limit.threads == 1 else f", {limit.threads} threads"
    return f"{words}, {limit.instructions}{threads}"
