"""Which candidate is shipped: the fastest that is faster than the original beyond doubt, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.measurement.result import Measurement, Ratio
from grandopt.workflows.contest import ORIGINAL
from grandopt.workflows.entry import Entry


@dataclass(frozen=True)
class Decision:
    """The winner with its speed-up, or None with the reason why the original is kept."""

    winner: Entry | None
    ratio: Ratio | None
    reason: str | None


def decide(measurement: Measurement, entries: Sequence[Entry]) -> Decision:
    """Choose among verified candidates that were measured together with the original.

    A candidate qualifies when the whole 95 % interval of its paired speed-up is above 1; among those the
    one with the largest median speed-up wins.
    """
    ratios = {entry.label: measurement.ratio(ORIGINAL, entry.label) for entry in entries}
    if not ratios:
        return Decision(None, None, "no candidate passed verification")
    ranked = sorted(entries, key=lambda entry: ratios[entry.label].value, reverse=True)
    for entry in ranked:
        if ratios[entry.label].low > 1:
            return Decision(entry, ratios[entry.label], None)
    best = ranked[0]
    ratio = ratios[best.label]
    return Decision(
        None,
        None,
        f"nothing was faster: the best, {best.label}, ran at {ratio.value:.2f}× the original's speed "
        f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f})",
    )


def is_slower(ratio: Ratio) -> bool:
    """Whether a paired speed-up shows a slow-down: its whole interval is below 1."""
    return ratio.high < 1
