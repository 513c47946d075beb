"""Where each contender of a benchmark stands: figures, how far behind the fastest it is, and who leads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from grandopt.measurement.result import Measurement
from grandopt.reporting.figures import BatchFigures, Figures, LeadReport, MeanLeadReport, RatioReport
from grandopt.reporting.report import AgentReport, CandidateReport
from grandopt.workflows import records
from grandopt.workflows.contender import Contender
from grandopt.workflows.contest import ORIGINAL
from grandopt.workflows.work import Work

OURS = "native"
"""The engine whose lead is of interest, where it was measured; otherwise the fastest one."""


@dataclass(frozen=True)
class Standing:
    """The measurements of one agent by batch size (1 first), and why a contender is in none of them."""

    contenders: tuple[Contender, ...]
    measurements: Mapping[int, Measurement]
    broken: Mapping[str, str]
    limit_us: float
    work: Work

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
        """A row per contender: the measured ones by their medians, then the others."""
        labels = _labels(self.single)
        best = self.fastest(self.single, labels)
        measured = [item for item in self.contenders if item.label in labels]
        measured.sort(key=lambda item: self.single.summary(item.label).p50_us)
        rest = [item for item in self.contenders if item.label not in labels]
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
        engines = {ORIGINAL: "eager"} | {
            item.label: item.engine
            for item in self.contenders
            if item.label in labels and precision in ("any", item.precision)
        }
        engine = engines[self.fastest(measurement, engines)]
        if OURS in engines.values():
            engine = OURS
        own = [label for label, name in engines.items() if name == engine]
        others = [label for label, name in engines.items() if name != engine]
        if not others:
            return None
        label, rival = self.fastest(measurement, own), self.fastest(measurement, others)
        return LeadReport(
            precision=precision,
            batch=batch,
            engine=engine,
            label=label,
            rival=engines[rival],
            rival_label=rival,
            ratio=records.ratio(measurement.ratio(rival, label)),
        )

    def _measured(self, item: Contender, best: str) -> CandidateReport:
        gap = self.single.ratio(item.label, best)
        return item.row(
            status="chosen" if item.label == best else "slower",
            reason=None,
            figures=self._figures(item.label),
            speedup=records.ratio(self.single.ratio(ORIGINAL, item.label)),
            behind=records.ratio(gap),
            batches=self.batches(item.label),
        )

    def _other(self, item: Contender) -> CandidateReport:
        if item.label in self.broken:
            return item.row(status="failed", reason=self.broken[item.label])
        return item.row(status=item.status, reason=item.reason)

    def _figures(self, label: str) -> Figures:
        return records.figures(self.single, label, limit_us=self.limit_us)


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
