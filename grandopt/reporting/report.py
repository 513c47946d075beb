"""`optimization_report.json`: what one run did to each agent, with the evidence.

Every field is always written; what was not measured is null, and what is not a number cannot be written as
one: a figure must be finite, and in free-form parts (environment, options, …) infinities and NaN become the
strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, Field, ValidationError, model_validator

from grandopt import limits
from grandopt.errors import ReportError
from grandopt.reason import ReasonCode
from grandopt.reporting.admission import EvidenceReport
from grandopt.reporting.atomic_write import write_text_atomically
from grandopt.reporting.certificate import CertifiedReport
from grandopt.reporting.figures import (
    PERHAPS_4,
    SINCE_2,
    SINCE_3,
    SINCE_4,
    Amount,
    BatchFigures,
    BatchPoint,
    Count,
    CurveReport,
    DistributionReport,
    Figures,
    LayerTime,
    LeadReport,
    LimitReport,
    MeanLeadReport,
    OperatorReport,
    OperatorRow,
    PlainDict,
    RatioReport,
    ReportModel,
    Threads,
)
from grandopt.reporting.known import RefusalReport, SourceReport, StatisticsReport, TargetsReport
from grandopt.reporting.load import LoadCurveReport, LoadPointReport
from grandopt.reporting.recipe import Recipe
from grandopt.reporting.recommendations.advice import Recommendation

__all__ = [
    "REPORT_VERSION",
    "AgentReport",
    "BatchFigures",
    "BatchPoint",
    "CandidateReport",
    "CurveReport",
    "DistributionReport",
    "EvidenceReport",
    "Figures",
    "LayerTime",
    "LeadReport",
    "LimitReport",
    "LoadCurveReport",
    "LoadPointReport",
    "MeanLeadReport",
    "OperatorReport",
    "OperatorRow",
    "RatioReport",
    "RefusalReport",
    "Report",
    "Shipped",
    "SourceReport",
    "StatisticsReport",
    "TargetsReport",
    "load_report",
    "write_report",
]

AgentStatus = Literal["optimized", "original kept", "measured", "failed", "not run"]
CandidateStatus = Literal["chosen", "slower", "refused", "failed", "unavailable", "pruned", "not measured"]
Kind = Literal["optimize", "benchmark", "tune"]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class CandidateReport(ReportModel):
    """One engine with one set of options. `speedup` is against the original of the same run.

    Of all that is neither chosen nor verified `reason_code` is the kind of reason for programs, `reason` the
    words for people, and `remedy` what can be typed against it.

    A benchmark adds `behind`, how many times as fast the fastest of the run is, and `batches`, the figures of
    larger batches.
    """

    label: str
    engine: str
    precision: str
    options: PlainDict = Field(default_factory=dict)
    threads: Threads | None = None
    status: CandidateStatus
    reason: str | None = None
    reason_code: ReasonCode | None = Field(default=None, json_schema_extra=PERHAPS_4)
    remedy: str | None = Field(default=None, json_schema_extra=PERHAPS_4)
    figures: Figures | None = None
    speedup: RatioReport | None = None
    behind: RatioReport | None = Field(default=None, json_schema_extra=SINCE_2)
    batches: tuple[BatchFigures, ...] = Field(default=(), json_schema_extra=SINCE_2)
    verification: PlainDict | None = None

    @model_validator(mode="after")
    def _reason(self) -> CandidateReport:
        if self.status not in ("chosen", "slower") and not self.reason:
            raise ValueError(f"candidate {self.label!r} is {self.status!r} and needs a reason")
        return self


class Shipped(ReportModel):
    """What was written for an agent. `artifact` is the folder, relative to the output folder."""

    engine: str
    precision: str
    label: str
    options: PlainDict = Field(default_factory=dict)
    threads: Threads = 1
    artifact: str | None = None
    digest: str | None = None
    figures: Figures | None = None


class AgentReport(ReportModel):
    """Everything about one agent. `stages` maps each step of the job to its seconds; `curves` holds those of
    the winner and the runner-up. `continued` counts the builds that a run before had no time for and this one
    began. `limits` are the machine's for one thread, at each precision. `original_behind`, `original_batches`
    and `leads` are those of a benchmark, `loads` those of a benchmark under load.

    Status "measured" is that of a benchmark or a search, after which nothing is shipped.
    """

    name: str
    status: AgentStatus
    reason: str | None = None
    reason_code: ReasonCode | None = Field(default=None, json_schema_extra=PERHAPS_4)
    remedy: str | None = Field(default=None, json_schema_extra=PERHAPS_4)
    error_kind: Literal["input", "other"] | None = None
    source: SourceReport | None = None
    parameters: Count | None = None
    weight_bytes: Count | None = None
    flop: Count | None = None
    limits: tuple[LimitReport, ...] = Field(default=(), json_schema_extra=PERHAPS_4)
    signature: PlainDict | None = None
    contract: PlainDict | None = None
    targets: TargetsReport = TargetsReport()
    original: Figures | None = None
    original_behind: RatioReport | None = Field(default=None, json_schema_extra=SINCE_2)
    original_batches: tuple[BatchFigures, ...] = Field(default=(), json_schema_extra=SINCE_2)
    shipped: Shipped | None = None
    speedup: RatioReport | None = None
    candidates: tuple[CandidateReport, ...] = ()
    refusals: tuple[RefusalReport, ...] = ()
    curves: tuple[CurveReport, ...] = ()
    operators: tuple[OperatorReport, ...] = ()
    loads: tuple[LoadCurveReport, ...] = Field(default=(), json_schema_extra=PERHAPS_4)
    leads: tuple[LeadReport, ...] = Field(default=(), json_schema_extra=SINCE_2)
    verification_reference: str | None = None
    evidence: EvidenceReport | None = Field(default=None, json_schema_extra=SINCE_4)
    certified: CertifiedReport | None = Field(default=None, json_schema_extra=SINCE_4)
    tuning: PlainDict | None = None
    stages: dict[str, Amount] = Field(default_factory=dict)
    continued: Count | None = Field(default=None, json_schema_extra=PERHAPS_4)
    recommendations: tuple[Recommendation, ...] = Field(default=(), json_schema_extra=SINCE_3)
    recipe: Recipe | None = Field(default=None, json_schema_extra=SINCE_3)
    statistics: tuple[StatisticsReport, ...] = Field(default=(), json_schema_extra=SINCE_4)

    @model_validator(mode="after")
    def _evidence(self) -> AgentReport:
        if self.status == "optimized" and (self.shipped is None or self.speedup is None):
            raise ValueError(f"agent {self.name!r} is 'optimized' and needs 'shipped' and 'speedup'")
        if self.status not in ("optimized", "measured") and not self.reason:
            raise ValueError(f"agent {self.name!r} is {self.status!r} and needs a reason")
        if (self.status == "failed") != (self.error_kind is not None):
            raise ValueError(f"agent {self.name!r}: 'error_kind' belongs to status 'failed', and only to it")
        return self


# Version history. A change of any field above is a new version: add a line here, keep a report of the old one
# in the tests, and mark the new fields (`SINCE_4`) so that `load_report` knows what an old file cannot have.
#
# 1  first version
# 2  `distribution` of figures; of a benchmark who is behind, larger batches, and who leads
# 3  what to try next (`recommendations`), and what it takes to do an agent's run again (`recipe`)
# 4  on what evidence about the inputs a precision was admitted, how much of the network they exercised, and
#    what is proven of it (`certified`); the codes of reasons, and remedies; the interval of a median; what a
#    run before had no time for; the machine's limit at each precision, and what sets it; how an agent served
#    under load (`loads`)
REPORT_VERSION = 4


class Report(ReportModel):
    """One run. `started` and `finished` are ISO 8601 in UTC; `status` is "partial" for an interrupted run.

    `leads` is what a benchmark found over all its agents.
    """

    schema_version: Literal[4] = 4
    kind: Kind
    status: Literal["complete", "partial"]
    command: tuple[str, ...]
    started: Moment
    finished: Moment
    duration_s: Amount
    grandopt: str
    environment: PlainDict
    profile: PlainDict | None = None
    seed: Count
    threads: Threads | Literal["auto"]
    agents: tuple[AgentReport, ...]
    leads: tuple[MeanLeadReport, ...] = Field(default=(), json_schema_extra=SINCE_2)


def load_report(path: Path) -> Report:
    """Read a report. One of an older version comes back as the present one, with null for what it lacks.

    Raises ReportError, in one line, for a file that is missing, half-written, of another version, or that
    misses a field, has an unknown one, or one of the wrong type.
    """
    try:
        text = limits.text(path, limits.REPORT_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ReportError(f"{limits.shortened(path)}: cannot be read as a report ({reason})") from error
    try:
        data = limits.document(text, _refuse_constant)
    except ValueError as error:
        raise ReportError(
            f"{path}: not a complete report ({_lower(str(error))}); make it again with `grandopt optimize`"
        ) from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= REPORT_VERSION:
        raise ReportError(
            f"{path}: schema_version is {version!r:.40}, this grandopt reads versions 1 to {REPORT_VERSION}"
        )
    try:
        # From JSON text, strict mode takes lists for tuples but no text for numbers.
        report = Report.model_validate_json(
            json.dumps(data | {"schema_version": REPORT_VERSION}), strict=True
        )
    except ValidationError as error:
        raise ReportError(f"{path}: {_first_problem(error)}") from error
    problem = next(_misplaced(report, version), None)
    if problem is not None:
        raise ReportError(f"{path}: {problem}")
    return report


def write_report(report: Report, path: Path) -> None:
    """Write a report so that `path` always holds either the old or the new one, whole.

    Creates the folder. Raises OutputError when the place cannot be written.
    """
    text = json.dumps(report.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    write_text_atomically(path, text + "\n")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the constant {name} is not JSON")


def _misplaced(model: BaseModel, version: int, place: str = "") -> Iterator[str]:
    """The fields that a file of `version` must have and lacks (a writer writes all), or cannot have."""
    for name, field in type(model).model_fields.items():
        extra = field.json_schema_extra
        known = not isinstance(extra, dict) or version >= cast(int, extra.get("since", 1))
        optional = isinstance(extra, dict) and known and extra.get("optional") is True
        if known != (name in model.model_fields_set) and not optional:
            yield f"field {place + name!r} is {'missing' if known else 'unknown'}"
        value = getattr(model, name)
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, BaseModel):
                yield from _misplaced(item, version, f"{place}{name}.{index}.")
        if isinstance(value, BaseModel) and name in model.model_fields_set:
            yield from _misplaced(value, version, f"{place}{name}.")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "report"
    match problem["type"]:
        case "missing":
            return f"field {field!r} is missing"
        case "extra_forbidden":
            return f"field {field!r} is unknown"
        case _:
            return f"field {field!r}: {_lower(problem['msg'].removeprefix('Value error, '))}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
