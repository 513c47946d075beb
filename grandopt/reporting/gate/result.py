"""The result of the regression gate: what a candidate was held to, and what was found, figure by figure.

Frozen and versioned like the report of a run; `grandopt compare --json` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, model_validator

from grandopt.config.gate import GateFigure
from grandopt.reason import ReasonCode
from grandopt.reporting.figures import Amount, Count, PlainDict, ReportModel, Threads
from grandopt.reporting.report import Moment

Outcome = Literal["pass", "regression", "inconclusive"]
FigureOutcome = Literal["pass", "regression", "inconclusive", "skipped"]
Mode = Literal["artifacts", "checkpoints", "reports"]
Unit = Literal["µs", "ms", "MB", "bytes", "relative L2", "instructions"]

# Version history. A change of any field below is a new version.
#
# 1  first version
# 2  the codes of reasons
GATE_VERSION = 2


class ComparisonEvidence(ReportModel):
    """Log ratios, one per process: of candidate to baseline, and of the baseline to its own second copy."""

    change: tuple[float, ...]
    noise: tuple[float, ...]


class FigureReport(ReportModel):
    """One figure of one agent, held to its limit.

    `change` is by which fraction the candidate's figure is larger (0.03 is 3 %), `low` and `high` are the
    ends of its interval at `confidence`, and `noise` is how far from 0 the change of the baseline to itself
    can lie; null where the figure has no noise, or where there is none to be known. `bootstrap` is the
    percentile interval of 95 % for readers who are used to it; it decides nothing. For accuracy `change` is
    the difference itself. `more` is how many more processes would settle what is inconclusive. An `advisory`
    figure does not count for the agent's outcome.
    """

    figure: GateFigure
    outcome: FigureOutcome
    advisory: bool = False
    limit: Amount
    unit: Unit
    baseline: Amount | None = None
    candidate: Amount | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = Field(default=None, gt=0, lt=1)
    bootstrap: tuple[float, float] | None = None
    noise: Amount | None = None
    processes: Count | None = None
    more: Count | None = None
    evidence: ComparisonEvidence | None = None
    reason: str | None = None
    reason_code: ReasonCode | None = None
    remedy: str | None = None

    @model_validator(mode="after")
    def _reasons(self) -> FigureReport:
        if self.outcome == "skipped" and not self.reason:
            raise ValueError(f"{self.figure} is 'skipped' and needs a reason")
        if self.outcome in ("skipped", "inconclusive") and self.reason_code is None:
            raise ValueError(f"{self.figure} is {self.outcome!r} and needs the code of its reason")
        if self.outcome in ("pass", "regression") and self.change is None:
            raise ValueError(f"{self.figure} is {self.outcome!r} and needs its 'change'")
        return self


class SideReport(ReportModel):
    """What stood on one side: an artifact (or what a report says of it)."""

    path: str
    engine: str | None = None
    precision: str | None = None
    digest: str | None = None


class AgentGate(ReportModel):
    """One agent: a regression if one of its figures is, else inconclusive if one of them is, else a pass."""

    name: str
    outcome: Outcome
    baseline: SideReport
    candidate: SideReport
    threads: Threads | None = None
    figures: tuple[FigureReport, ...]
    seconds: Amount

    @model_validator(mode="after")
    def _follows(self) -> AgentGate:
        if self.outcome != outcome_of(figure.outcome for figure in self.figures if not figure.advisory):
            raise ValueError(
                f"agent {self.name!r} is {self.outcome!r}, which does not follow from its figures"
            )
        return self


class GateReport(ReportModel):
    """One comparison. `alpha` is the chance that the intervals of a figure, all looks together, miss.

    `identity` is that of this machine (see `Environment`).
    """

    schema_version: Literal[2] = 2
    kind: Literal["comparison"] = "comparison"
    mode: Mode
    outcome: Outcome
    baseline: str
    candidate: str
    command: tuple[str, ...]
    started: Moment
    finished: Moment
    duration_s: Amount
    grandopt: str
    environment: PlainDict
    seed: Count
    alpha: float = Field(gt=0, lt=1)
    agents: tuple[AgentGate, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _follows(self) -> GateReport:
        if self.outcome != outcome_of(agent.outcome for agent in self.agents):
            raise ValueError(f"the outcome {self.outcome!r} does not follow from those of the agents")
        return self


def outcome_of(outcomes: Iterable[str]) -> Outcome:
    """The outcome of several: the worst of them, where what was skipped counts for nothing."""
    found = set(outcomes)
    if "regression" in found:
        return "regression"
    return "inconclusive" if "inconclusive" in found else "pass"
