"""The competitors of a benchmark (candidates, external engines), and where each stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from grandopt.config.engines import ENGINE_CLASSES, ORIGINAL_ENGINE
from grandopt.measurement.limit import MachineLimit
from grandopt.measurement.result import Measurement
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.figures import BatchFigures, Figures, LeadReport, MeanLeadReport, RatioReport
from grandopt.reporting.report import AgentReport, CandidateReport
from grandopt.verification.result import Verification
from grandopt.workflows import records
from grandopt.workflows.building.built import ORIGINAL, BuiltCandidate, variant_name
from grandopt.workflows.building.request import BuildStatus
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.workload import Workload


@dataclass(frozen=True)
class Competitor:
    """One way to run an agent, built and verified. `subject` is None where there is nothing to measure.

    `built` is the candidate that it is; None for a external engine, which is never shipped.
    """

    name: str
    engine: str
    precision: str
    threads: int
    status: BuildStatus
    reason: Reason | None = None
    subject: Subject | None = None
    verification: Verification | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    built: BuiltCandidate | None = None

    @property
    def label(self) -> str:
        """Name in tables: with the threads where they are not 1."""
        return variant_name(self.name, self.threads)

    @property
    def verified(self) -> bool:
        """Whether it takes part in the measurement."""
        return self.status == "verified" and self.subject is not None

    def row(self, *, reason: Reason | None = None, **fields: Any) -> CandidateReport:
        """Its row in the report; `fields` holds its status, and figures where there are some."""
        return CandidateReport(
            label=self.label,
            engine=self.engine,
            precision=self.precision,
            options=dict(self.options),
            threads=self.threads,
            verification=None if self.verification is None else self.verification.to_json(),
            **reason_fields(reason) | fields,
        )


def candidate(candidate_set: CandidateSet, built: BuiltCandidate) -> Competitor:
    """A candidate that was entered in the agent's candidate set."""
    measurable = built.status == "verified"
    return Competitor(
        name=built.candidate.label,
        engine=built.candidate.engine,
        precision=built.candidate.precision,
        threads=built.threads,
        status=built.status,
        reason=built.reason,
        subject=candidate_set.subject(built) if measurable else None,
        verification=built.verification,
        options=built.candidate.options.model_dump(mode="json"),
        built=built,
    )


OURS = frozenset(name for name, kind in ENGINE_CLASSES.items() if kind.ours)
"""The engines whose lead is of interest, where they were measured; otherwise the fastest one."""


@dataclass(frozen=True)
class Ranking:
    """The measurements of one agent by batch size (1 first), and why a competitor is in none of them."""

    competitors: tuple[Competitor, ...]
    measurements: Mapping[int, Measurement]
    broken: Mapping[str, Reason]
    limit: MachineLimit
    work: Workload

    @property
    def single(self) -> Measurement:
        """The measurement of single observations."""
        return self.measurements[1]

    @property
    def labels(self) -> list[str]:
        """What was measured, the original included."""
        return _labels(self.single)

    def fastest(self, measurement: Measurement, labels: Iterable[str]) -> str:
        """The label with the lowest median."""
        return min(labels, key=lambda label: measurement.summary(label).p50_us)

    def rows(self) -> tuple[CandidateReport, ...]:
        """A row per competitor: the measured ones by their medians, then the others."""
        labels = _labels(self.single)
        best = self.fastest(self.single, labels)
        measured = [item for item in self.competitors if item.label in labels]
        measured.sort(key=lambda item: self.single.summary(item.label).p50_us)
        rest = [item for item in self.competitors if item.label not in labels]
        return (*(self._measured(item, best) for item in measured), *(self._other(item) for item in rest))

    def behind(self, label: str) -> RatioReport:
        """How many times as fast the fastest of the run is."""
        best = self.fastest(self.single, _labels(self.single))
        return records.ratio(self.single.ratio(label, best))

    def batches(self, label: str) -> tuple[BatchFigures, ...]:
        """The figures at larger batches."""
        return tuple(
            BatchFigures(batch=batch, figures=records.figures(measurement, label))
            for batch, measurement in self.measurements.items()
            if batch > 1 and label in _labels(measurement)
        )

    def leads(self) -> tuple[LeadReport, ...]:
        """For float32 and for any precision, and for each batch size: our engine beside the fastest other."""
        found = (
            self._lead(precision, batch, measurement)
            for precision in ("float32", "any")
            for batch, measurement in self.measurements.items()
        )
        return tuple(lead for lead in found if lead is not None)

    def _lead(
        self, precision: Literal["float32", "any"], batch: int, measurement: Measurement
    ) -> LeadReport | None:
        labels = _labels(measurement)
        engines = {ORIGINAL: ORIGINAL_ENGINE} | {
            item.label: item.engine
            for item in self.competitors
            if item.label in labels and precision in ("any", item.precision)
        }
        ours = [label for label, name in engines.items() if name in OURS]
        engine = engines[self.fastest(measurement, ours or engines)]
        own = [label for label, name in engines.items() if name == engine]
        others = [label for label, name in engines.items() if name != engine]
        if not others:
            return None
        label, other = self.fastest(measurement, own), self.fastest(measurement, others)
        return LeadReport(
            precision=precision,
            batch=batch,
            engine=engine,
            label=label,
            rival=engines[other],
            rival_label=other,
            ratio=records.ratio(measurement.ratio(other, label)),
        )

    def _measured(self, item: Competitor, best: str) -> CandidateReport:
        gap = self.single.ratio(item.label, best)
        chosen = item.label == best
        return item.row(
            status="chosen" if chosen else "slower",
            reason=item.reason,  # in what an external engine differs that is measured all the same
            **({} if item.reason or chosen else {"reason_code": ReasonCode.SLOWER}),  # `behind` has how much
            figures=self._figures(item),
            speedup=records.ratio(self.single.ratio(ORIGINAL, item.label)),
            behind=records.ratio(gap),
            batches=self.batches(item.label),
        )

    def _other(self, item: Competitor) -> CandidateReport:
        if item.label in self.broken:
            return item.row(status="failed", reason=self.broken[item.label])
        return item.row(status=item.status, reason=item.reason)

    def _figures(self, item: Competitor) -> Figures:
        limit = self.work.limit(self.limit, item.precision, item.threads)
        return records.figures(self.single, item.label, limit=limit)


def mean_leads(agents: Sequence[AgentReport]) -> tuple[MeanLeadReport, ...]:
    """The geometric means of the leads of one engine over several agents, by precision and batch size."""
    groups: dict[tuple[Literal["float32", "any"], int, str], list[float]] = {}
    for agent in agents:
        for lead in agent.leads:
            groups.setdefault((lead.precision, lead.batch, lead.engine), []).append(lead.ratio.value)
    return tuple(
        MeanLeadReport(
            precision=precision,
            batch=batch,
            engine=engine,
            agents=len(values),
            ratio=math.exp(sum(map(math.log, values)) / len(values)),
            least=min(values),
            largest=max(values),
        )
        for (precision, batch, engine), values in groups.items()
        if len(values) > 1
    )


def _labels(measurement: Measurement) -> list[str]:
    return [subject.label for subject in measurement.subjects]
