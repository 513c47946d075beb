"""Report records: what was run and with which settings, and what was found.

From results to records; nothing is decided here, and no figure is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.program import Program
from grandopt.config.schema import AgentConfig, Job, Profile
from grandopt.errors import GrandoptError
from grandopt.measurement.cold import ColdStart
from grandopt.measurement.curve import FIT
from grandopt.measurement.environment import environment
from grandopt.measurement.limit import AgentLimit, MachineLimit
from grandopt.measurement.result import Measurement, Ratio, SubjectSamples
from grandopt.measurement.statistics import distribution
from grandopt.measurement.warmth import Warmth
from grandopt.private import told
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.figures import DistributionReport, Figures, LimitReport, RatioReport
from grandopt.reporting.recommendations.recommend import with_recommendations
from grandopt.reporting.report import (
    AgentReport,
    BatchPoint,
    CandidateReport,
    CurveReport,
    EvidenceReport,
    Kind,
    RefusalReport,
    Report,
    SourceReport,
    StatisticsReport,
    TargetsReport,
)
from grandopt.reporting.verdict import target_misses
from grandopt.verification.exercise import Exercise
from grandopt.verification.oracle import Oracle
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.workload import Workload


def figures(
    measurement: Measurement,
    label: str,
    *,
    cold: ColdStart | None = None,
    cold_measured: str | None = None,
    limit: AgentLimit | None = None,
    base: str | None = None,
    warmth: Warmth | None = None,
) -> Figures:
    """The figures of one subject, with the cold ones and those of warm calls and of calls after other work
    where they were taken, beside the machine's limit.

    With a `base` they are stable only where the speed-up over it is, too.
    """
    summary = measurement.summary(label)
    samples = measurement.samples(label)
    low, high = samples.median_interval_ns
    return Figures(
        p50_us=summary.p50_us,
        p50_low_us=low / 1e3,
        p50_high_us=high / 1e3,
        processes=len(samples.processes),
        p90_us=summary.p90_us,
        p95_us=summary.p95_us,
        p99_us=summary.p99_us,
        p999_us=summary.p999_us,
        unavailable=summary.unavailable,
        mean_us=summary.mean_us,
        qps=summary.qps,
        samples=summary.samples,
        stable=summary.stable if base is None else measurement.steady(label, base),
        cpu_s_per_million=samples.cpu_s_per_million,
        calls_to_stable=samples.calls_to_stable,
        timer_overhead_ns=samples.timer_overhead_ns,
        load_ms=None if cold is None else cold.load_ms,
        first_call_ms=None if cold is None else cold.first_call_ms,
        process_ms=None if cold is None else cold.process_ms,
        resident_mb=None if cold is None else cold.resident_mb,
        artifact_bytes=None if cold is None else cold.artifact_bytes,
        cold_measured=cold_measured,
        limit_us=None if limit is None else limit.us,
        limit_factor=None if limit is None or not limit.us else summary.p50_us / limit.us,
        limit=None if limit is None else LimitReport(**asdict(limit)),
        below_limit=None if limit is None else summary.p50_us < limit.us,
        warm_us=None if warmth is None else warmth.warm_us,
        after_other_work_us=None if warmth is None else warmth.after_other_work_us,
        other_work_bytes=None if warmth is None else warmth.other_work_bytes,
        distribution=_distribution(samples) if measurement.settings.batch == 1 else None,
    )


def _distribution(samples: SubjectSamples) -> DistributionReport:
    shares, ns = distribution(samples.call_ns)
    return DistributionReport(shares=shares, us=tuple(value / 1e3 for value in ns))


def ratio(value: Ratio) -> RatioReport:
    """A paired speed-up."""
    return RatioReport(**asdict(value))


def candidate(
    built: BuiltCandidate, *, reason: Reason | None = None, words: str | None = None, **fields: Any
) -> CandidateReport:
    """A candidate's row; `fields` holds its status, and figures and speed-up where there are some.

    `words` are a remark on a chosen one, in the place of a reason.
    """
    return CandidateReport(
        label=built.label,
        engine=built.candidate.engine,
        precision=built.candidate.precision,
        options=built.candidate.options.model_dump(mode="json") | _layers(built),
        threads=built.threads,
        verification=None if built.verification is None else built.verification.to_json(),
        **(reason_fields(reason) | ({} if words is None else {"reason": words})),
        **fields,
    )


def _layers(built: BuiltCandidate) -> dict[str, Any]:
    """The layers by the precision of their weights, where a build chose that."""
    if built.artifact is None or not built.candidate.weighs:
        return {}
    return {"layers": built.artifact.manifest.options["layers"]}


def curve(data: Mapping[str, Any], label: str, threads: int, measured: str) -> CurveReport:
    """One curve of `once`, as `asdict(Curve)` and JSON left it."""
    line = data["line"] or {}
    return CurveReport(
        label=label,
        threads=threads,
        points=tuple(BatchPoint(**point) for point in data["points"]),
        fit=FIT if line else None,
        reason=data["reason"],
        measured=measured,
        **line,
    )


def evidence_report(oracle: Oracle) -> EvidenceReport:
    """On what evidence about the inputs builds at reduced precision were judged, and on how much of the
    network."""
    exercise = oracle.exercise or Exercise(0, 0, 0, 0)
    return EvidenceReport(
        kind=oracle.evidence.kind,
        detail=oracle.evidence.detail,
        populations=() if oracle.wide is None else tuple(group.name or "" for group in oracle.wide.groups),
        units=exercise.units,
        units_changed=exercise.units_changed,
        outputs=exercise.outputs,
        outputs_changed=exercise.outputs_changed,
        widened=exercise.low,
        refusal=exercise.refusal,
    )


def subject(program: Program, work: Workload, machine: MachineLimit | None = None) -> dict[str, Any]:
    """What an agent's record says about the agent itself, and the limits of this machine for it, where they
    were measured."""
    source = program.source
    return {
        "source": SourceReport(
            format=source.format, path=source.path, sha256=source.sha256, weights=source.weights
        ),
        "parameters": work.parameters,
        "weight_bytes": work.weight_bytes,
        "flop": work.flop,
        "limits": () if machine is None else work.limits(machine),
        "signature": program.signature.to_json(),
        "contract": asdict(program.contract),
        "refusals": tuple(
            RefusalReport(stage=item.stage, **reason_fields(item.reason)) for item in program.refusals
        ),
    }


def statistics(checkpoint: Checkpoint) -> tuple[StatisticsReport, ...]:
    """What was found with an agent to normalise its observations with, used or not."""
    return tuple(StatisticsReport(**told(asdict(item))) for item in checkpoint.statistics)


def targets(config: AgentConfig, profile: Profile, shipped: Figures | None) -> TargetsReport:
    """The agent's own targets, else the profile's, and whether the shipped artifact meets them."""
    latency = config.target_latency_ms or profile.target_latency_ms
    throughput = config.target_throughput or profile.target_throughput
    memory = profile.memory_limit_mb
    if shipped is None:
        return TargetsReport(latency_ms=latency, throughput=throughput, memory_mb=memory)
    misses = target_misses(shipped, latency, throughput, memory)
    return TargetsReport(
        latency_ms=latency, throughput=throughput, memory_mb=memory, met=not misses, misses=misses
    )


def failed(
    name: str, error: GrandoptError, *, bad_input: bool, config: AgentConfig, profile: Profile
) -> AgentReport:
    """The record of an agent that could not be done, with the reason."""
    return AgentReport(
        name=name,
        status="failed",
        **reason_fields(Reason.of(error)),
        error_kind="input" if bad_input else "other",
        targets=targets(config, profile, None),
    )


STOPPED = Reason(ReasonCode.STOPPED, "the run was stopped before its turn")


def not_run(name: str, *, config: AgentConfig, profile: Profile) -> AgentReport:
    """The record of an agent that the run did not come to."""
    return AgentReport(
        name=name, status="not run", targets=targets(config, profile, None), **reason_fields(STOPPED)
    )


class Summary:
    """Made when a run begins; `report` puts its frame around the agents' records.

    `command` is what was called, with the program's name instead of its path.
    """

    def __init__(self, kind: Kind, job: Job, command: Sequence[str], now: Callable[[], datetime]) -> None:
        self._kind: Kind = kind
        self._job = job
        self.command = (Path(command[0]).name, *command[1:]) if command else ()
        self._now = now
        self._started = now()
        self._begin = time.monotonic()
        self._environment = asdict(environment())

    def report(
        self,
        done: Sequence[AgentReport],
        waiting: Sequence[AgentReport],
        status: Literal["complete", "partial"],
    ) -> Report:
        """The report of what is done and what still waits."""
        report = Report(
            kind=self._kind,
            status=status,
            command=self.command,
            started=moment(self._started),
            finished=moment(self._now()),
            duration_s=time.monotonic() - self._begin,
            grandopt=metadata.version("grandopt"),
            environment=self._environment,
            profile=self._job.profile.model_dump(mode="json"),
            seed=self._job.seed,
            threads=self._job.threads,
            agents=(*done, *waiting),
        )
        return with_recommendations(report).without_private()


def moment(time: datetime) -> str:
    """A time in UTC as reports hold it: ISO 8601 to the millisecond, with "Z"."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
