"""What is known of an agent beside its figures: its source, its targets, and what could not be used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grandopt.reason import ReasonCode
from grandopt.reporting.figures import PERHAPS_4, ReportModel


class SourceReport(ReportModel):
    """Where the weights came from; `weights` is "seeded" for reference agents, which nobody trained."""

    format: str
    path: str | None = None
    sha256: str | None = None
    weights: Literal["file", "seeded", "memory"] = "file"


class TargetsReport(ReportModel):
    """What was asked for. `met` is null where nothing was measured; `misses` has one line per missed one."""

    latency_ms: float | None = Field(default=None, gt=0)
    throughput: float | None = Field(default=None, gt=0)
    memory_mb: float | None = Field(default=None, gt=0)
    met: bool | None = None
    misses: tuple[str, ...] = ()


class StatisticsReport(ReportModel):
    """Normalisation statistics that were found with an agent: used, or why not and what to do about it."""

    place: str
    kind: str
    used: bool
    reason: str | None = None


class RefusalReport(ReportModel):
    """Something that a stage could not do, and why: in one line, by its code, and what to type against it."""

    stage: str
    reason: str
    reason_code: ReasonCode | None = Field(default=None, json_schema_extra=PERHAPS_4)
    remedy: str | None = Field(default=None, json_schema_extra=PERHAPS_4)
