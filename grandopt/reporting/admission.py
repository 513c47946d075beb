"""On what evidence about an agent's inputs a precision below float32 was admitted."""

from __future__ import annotations

from typing import Literal

from grandopt.reporting.figures import Count, ReportModel

SHORTLY = {
    "recorded": "recorded observations",
    "statistics": "the agent's own statistics",
    "bounds": "declared bounds",
    "none": "no evidence about the inputs, mixed draws alone",
}
"""The kinds of evidence, in words."""


class EvidenceReport(ReportModel):
    """On what evidence about the inputs a precision below float32 was admitted, or would have been.

    `kind` is "recorded" observations, "statistics" that the agent carries, "bounds" that are declared, or
    "none"; `detail` says it in words. `populations` are the kinds of draws on each of which the limits had to
    hold. Of `units` behind activation functions (0 where they cannot be seen) and elements of the `outputs`,
    so many changed on what the builds were judged on; `widened` says that they did so only on more than the
    ordinary inputs, and `refusal` why too few did.
    """

    kind: Literal["recorded", "statistics", "bounds", "none"]
    detail: str
    populations: tuple[str, ...] = ()
    units: Count = 0
    units_changed: Count = 0
    outputs: Count = 0
    outputs_changed: Count = 0
    widened: bool = False
    refusal: str | None = None


def evidence_words(evidence: EvidenceReport) -> str:
    """On what evidence about the inputs a precision was admitted, in one line."""
    parts = [evidence.detail]
    if evidence.populations:
        parts.append(f"held to the limits on {len(evidence.populations)} kinds of draws")
    if evidence.units:
        parts.append(f"{evidence.units_changed} of {evidence.units} units changed")
    if evidence.outputs:
        parts.append(f"{evidence.outputs_changed} of {evidence.outputs} outputs changed")
    if evidence.widened:
        parts.append("the ordinary inputs alone exercised too little of the network")
    if evidence.refusal is not None:
        parts.append(f"no reduced precision: {evidence.refusal}")
    return "; ".join(parts)
