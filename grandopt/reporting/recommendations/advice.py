"""What a recommendation is: a thing to do, why, how, and what it may bring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grandopt.reporting.figures import ReportModel

Topic = Literal[
    "samples",
    "engine",
    "budget",
    "profile",
    "precision",
    "threads",
    "batch",
    "headroom",
    "bits",
    "limit",
    "unstable",
]
GainKind = Literal["measured", "at most", "unknown", "none"]


class GainReport(ReportModel):
    """What following a recommendation may bring.

    "measured" is what this run measured, "at most" a bound that follows from its figures; both have a
    `factor` (how many times as fast, or as much) `of` latency or throughput. "unknown" is where nothing in
    the run says how much, "none" where it makes no agent faster. `note` says where the factor comes from, or
    why there is none.
    """

    kind: GainKind
    factor: float | None = Field(default=None, gt=0)
    of: Literal["latency", "throughput"] | None = None
    note: str

    @model_validator(mode="after")
    def _factor(self) -> GainReport:
        if (self.kind in ("measured", "at most")) != (self.factor is not None and self.of is not None):
            raise ValueError("'factor' and 'of' belong to a gain that is measured or bounded, and only to it")
        return self


class Recommendation(ReportModel):
    """One thing to do for one agent. `evidence` holds the figures of this run that speak for it.

    `command` does it, empty where it is nothing that grandopt does.
    """

    topic: Topic
    advice: str
    evidence: str
    command: tuple[str, ...]
    gain: GainReport
