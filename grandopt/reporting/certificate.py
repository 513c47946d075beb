"""What is proven of a build, beside what was found on samples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grandopt.reporting.figures import Amount, Count, ReportModel


class CertifiedReport(ReportModel):
    """What is proven of a build of reduced precision.

    On so many (`certified`, a `share`) of `states` recorded observations its action cannot be another than
    the original's; null without observations, and for continuous actions, which instead can be off by at most
    `action_error` on any of them. `bound` is what any score or action can be off by within the `box` of the
    inputs, declared or that of the recorded observations. `reason` says why something is missing.
    """

    states: Count = 0
    certified: Count | None = None
    share: float | None = Field(default=None, ge=0, le=1)
    action_error: Amount | None = None
    bound: Amount | None = None
    box: Literal["declared", "recorded"] | None = None
    reason: str | None = None


def certified_words(found: CertifiedReport) -> str:
    """What is proven, in one line."""
    parts = []
    if found.share is not None:
        parts.append(f"the action cannot differ on {found.certified} of {found.states} recorded states")
    if found.action_error is not None:
        states = f"any of {found.states} recorded states"
        parts.append(f"the action is off by at most {found.action_error:.3g} on {states}")
    if found.bound is not None:
        parts.append(f"no output is off by more than {found.bound:.3g} within the {found.box} inputs")
    if found.reason is not None:
        parts.append(found.reason)
    return "; ".join(parts)
