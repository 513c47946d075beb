"""What a benchmark measures: an agent's own candidates, and rivals that only a benchmark looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grandopt.measurement.subject import Subject
from grandopt.reporting.report import CandidateReport
from grandopt.verification.result import Verification
from grandopt.workflows.contest import Contest
from grandopt.workflows.entry import Entry, EntryStatus, placed


@dataclass(frozen=True)
class Contender:
    """One way to run an agent, built and verified. `subject` is None where there is nothing to measure.

    `entry` is the candidate that it is; None for a rival, which is never shipped.
    """

    name: str
    engine: str
    precision: str
    threads: int
    status: EntryStatus
    reason: str | None = None
    subject: Subject | None = None
    verification: Verification | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    entry: Entry | None = None

    @property
    def label(self) -> str:
        """Name in tables: with the threads where they are not 1."""
        return placed(self.name, self.threads)

    @property
    def verified(self) -> bool:
        """Whether it takes part in the measurement."""
        return self.status == "verified" and self.subject is not None

    def row(self, **fields: Any) -> CandidateReport:
        """Its row in the report; `fields` holds status, and reason and figures where there are some."""
        return CandidateReport(
            label=self.label,
            engine=self.engine,
            precision=self.precision,
            options=dict(self.options),
            threads=self.threads,
            verification=None if self.verification is None else self.verification.to_json(),
            **fields,
        )


def candidate(contest: Contest, entry: Entry) -> Contender:
    """A candidate that was entered in the agent's contest."""
    measurable = entry.status == "verified"
    return Contender(
        name=entry.candidate.label,
        engine=entry.candidate.engine,
        precision=entry.candidate.precision,
        threads=entry.threads,
        status=entry.status,
        reason=entry.reason,
        subject=Subject(entry.label, contest.artifact(entry).path, trust=True) if measurable else None,
        verification=entry.verification,
        options=entry.candidate.options.model_dump(mode="json"),
        entry=entry,
    )
