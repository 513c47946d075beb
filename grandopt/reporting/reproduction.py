"""What `reproduce` found: whether an artifact could be made again, and what differs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grandopt.reason import ReasonCode
from grandopt.reporting.figures import Amount, Count, Figures, RatioReport, ReportModel

Verdict = Literal["reproduced", "differs", "cannot"]


class Difference(ReportModel):
    """Something that is not as it was recorded. `then` or `now` is null where there is no such thing."""

    what: str
    then: str | None
    now: str | None


class AnswersReport(ReportModel):
    """The answers of the artifact and of the new build to the same observations, one at a time.

    `identical` counts those that agree in every bit. `largest` is the largest absolute difference of any
    output, and `relative_l2` the L2 norm of the differences over that of the artifact's answers; both are
    null where the answers have no finite difference.
    """

    observations: Count
    identical: Count
    largest: Amount | None
    relative_l2: Amount | None


class RemeasuredReport(ReportModel):
    """The figures as recorded and as measured now; `same_machine` says whether they may be compared.

    `speedup_then` and `speedup_now` are over the original of their own run. `pace` is how many times as fast
    the new build is as the artifact, measured side by side now.
    """

    same_machine: bool
    then: Figures | None
    now: Figures
    speedup_then: RatioReport | None
    speedup_now: RatioReport
    pace: RatioReport | None


class Reproduction(ReportModel):
    """One agent built again.

    "reproduced" is what has the same payload: the same bytes, or the same contents where its engine numbers
    things anew each time (`renumbered` of the `payload` same files); an original kept as a pickle, whose
    bytes change from one writing to the next, has the same network and weights and the same answers instead.
    "cannot" has its `reason`. `payload_files` were recorded.
    """

    agent: str
    verdict: Verdict
    reason: str | None = None
    reason_code: ReasonCode | None = None
    remedy: str | None = None
    label: str | None = None
    payload: Count = 0
    payload_files: Count = 0
    renumbered: Count = 0
    differences: tuple[Difference, ...] = ()
    answers: AnswersReport | None = None
    no_answers: str | None = None
    no_answers_code: ReasonCode | None = None
    remeasured: RemeasuredReport | None = None
    stages: dict[str, Amount] = Field(default_factory=dict)
