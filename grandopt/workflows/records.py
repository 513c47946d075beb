"""From results to report records: nothing is decided here, and no figure is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from grandopt.compiler.program import Program
from grandopt.config.schema import AgentConfig, Profile
from grandopt.measurement.cold import ColdStart
from grandopt.measurement.curve import FIT
from grandopt.measurement.result import Measurement, Ratio, SubjectSamples
from grandopt.measurement.statistics import distribution
from grandopt.reporting.figures import DistributionReport, Figures, RatioReport
from grandopt.reporting.report import (
    AgentReport,
    BatchPoint,
    CandidateReport,
    CurveReport,
    RefusalReport,
    SourceReport,
    TargetsReport,
)
from grandopt.reporting.verdict import target_misses
from grandopt.workflows.entry import Entry
from grandopt.workflows.work import Work


def figures(
    measurement: Measurement,
    label: str,
    *,
    cold: ColdStart | None = None,
    cold_measured: str | None = None,
    limit_us: float | None = None,
) -> Figures:
    """The figures of one subject, with the cold ones where they were taken, beside the machine's limit."""
    summary = measurement.summary(label)
    samples = measurement.samples(label)
    return Figures(
        p50_us=summary.p50_us,
        p90_us=summary.p90_us,
        p95_us=summary.p95_us,
        p99_us=summary.p99_us,
        p999_us=summary.p999_us,
        unavailable=summary.unavailable,
        mean_us=summary.mean_us,
        qps=summary.qps,
        samples=summary.samples,
        stable=summary.stable,
        cpu_s_per_million=samples.cpu_s_per_million,
        calls_to_stable=samples.calls_to_stable,
        timer_overhead_ns=samples.timer_overhead_ns,
        load_ms=None if cold is None else cold.load_ms,
        first_call_ms=None if cold is None else cold.first_call_ms,
        process_ms=None if cold is None else cold.process_ms,
        resident_mb=None if cold is None else cold.resident_mb,
        artifact_bytes=None if cold is None else cold.artifact_bytes,
        cold_measured=cold_measured,
        limit_us=limit_us,
        limit_factor=None if not limit_us else summary.p50_us / limit_us,
        distribution=_distribution(samples) if measurement.settings.batch == 1 else None,
    )


def _distribution(samples: SubjectSamples) -> DistributionReport:
    shares, ns = distribution(samples.call_ns)
    return DistributionReport(shares=shares, us=tuple(value / 1e3 for value in ns))


def ratio(value: Ratio) -> RatioReport:
    """A paired speed-up."""
    return RatioReport(**asdict(value))


def candidate(entry: Entry, **fields: Any) -> CandidateReport:
    """A candidate's row; `fields` holds its status, and reason, figures and speed-up where there are some."""
    return CandidateReport(
        label=entry.label,
        engine=entry.candidate.engine,
        precision=entry.candidate.precision,
        options=entry.candidate.options.model_dump(mode="json"),
        threads=entry.threads,
        verification=None if entry.verification is None else entry.verification.to_json(),
        **fields,
    )


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


def subject(program: Program, work: Work) -> dict[str, Any]:
    """What an agent's record says about the agent itself."""
    source = program.source
    return {
        "source": SourceReport(
            format=source.format, path=source.path, sha256=source.sha256, weights=source.weights
        ),
        "parameters": work.parameters,
        "weight_bytes": work.weight_bytes,
        "flop": work.flop,
        "signature": program.signature.to_json(),
        "contract": asdict(program.contract),
        "refusals": tuple(RefusalReport(stage=item.stage, reason=item.reason) for item in program.refusals),
    }


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
    name: str, error: Exception, *, bad_input: bool, config: AgentConfig, profile: Profile
) -> AgentReport:
    """The record of an agent that could not be done, with the reason."""
    return AgentReport(
        name=name,
        status="failed",
        reason=str(error),
        error_kind="input" if bad_input else "other",
        targets=targets(config, profile, None),
    )


def not_run(name: str, reason: str, *, config: AgentConfig, profile: Profile) -> AgentReport:
    """The record of an agent that the run did not come to."""
    return AgentReport(name=name, status="not run", reason=reason, targets=targets(config, profile, None))
