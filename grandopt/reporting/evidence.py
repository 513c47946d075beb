"""The free-form parts of a report that are shown to people, read strictly.

What verification and tuning found is kept in a report as plain data, because those layers are not known here.
Whoever shows it reads it through these models, so that a field that was cut out is one clear line.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grandopt.errors import ReportError
from grandopt.reporting.figures import Amount, Count, Threads
from grandopt.reporting.report import AgentReport, CandidateReport

# Shares of one, beside rounding.
Importance = Annotated[float, Field(ge=0, le=1 + 1e-6)]


class Part(BaseModel):
    """Base of the parts: frozen, finite numbers; what is not shown may be there as well."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class OutputEvidence(Part):
    """One output where it came closest to its limit; `error` is null where it was no finite number."""

    name: str
    norm: str
    error: Amount | None
    limit: Amount
    yardstick: Amount | None
    case: str | None

    @property
    def share(self) -> float | None:
        """The error as a multiple of the limit, so at most 1 passes; None without two positive numbers."""
        return None if self.error is None or self.limit <= 0 else self.error / self.limit


class Verified(Part):
    """What comparing a candidate with its original found; `agreement` is of `agreement_samples`."""

    passed: bool
    outputs: tuple[OutputEvidence, ...]
    agreement: float | None = Field(ge=0, le=1)
    agreement_samples: Count
    cases: Count
    skipped: tuple[str, ...]

    @property
    def worst(self) -> OutputEvidence | None:
        """The output nearest to its limit, or furthest beyond; one without a finite error is the worst."""
        ranked = [(float("inf") if output.share is None else output.share, output) for output in self.outputs]
        return max(ranked, key=lambda pair: pair[0])[1] if ranked else None


class ChoiceRecord(Part):
    """What a trial tried."""

    candidate: str
    threads: Threads
    batch: Threads


class TrialFigureRecord(Part):
    """What a trial measured, shortly: µs a call, and observations per second."""

    latency_us: Amount
    throughput: Amount


class TrialRecord(Part):
    """One trial of a study; `score` is None where nothing was measured, which has a `reason`."""

    number: Count
    choice: ChoiceRecord
    state: Literal["complete", "pruned", "infeasible"]
    score: float | None
    figures: TrialFigureRecord | None
    reason: str | None
    reason_code: str | None = None


class TuningRecord(Part):
    """A study: its trials by number, and the share of the difference that each parameter explains.

    A lower score is better; what it is depends on `goal`.
    """

    goal: str
    stopped_by: str
    reused: Count
    best: Count | None
    importance: dict[str, Importance] | None
    trials: tuple[TrialRecord, ...]


PartT = TypeVar("PartT", bound=Part)


def verified(agent: AgentReport, candidate: CandidateReport) -> Verified | None:
    """The verification of a candidate, None where it was not verified. Raises ReportError, in one line."""
    where = f"agent {agent.name!r}, candidate {candidate.label!r}: verification"
    return None if candidate.verification is None else _read(Verified, candidate.verification, where)


def tuning(agent: AgentReport) -> TuningRecord | None:
    """The study of an agent, None where there was none. Raises ReportError, in one line."""
    return (
        None if agent.tuning is None else _read(TuningRecord, agent.tuning, f"agent {agent.name!r}: tuning")
    )


def _read(kind: type[PartT], data: dict[str, object], where: str) -> PartT:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"]) or "it"
        what = "is missing" if problem["type"] == "missing" else f"cannot be used ({problem['msg']})"
        raise ReportError(f"{where}: field {field!r} {what}; make the report again") from error
