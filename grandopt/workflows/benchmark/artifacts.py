"""`benchmark` of built artifacts: those that take the same inputs are measured beside the first of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read
from grandopt.config.schema import Job
from grandopt.measurement.cold import cold_start
from grandopt.measurement.measure import measure
from grandopt.measurement.result import Measurement
from grandopt.measurement.subject import Subject
from grandopt.reason import ReasonCode
from grandopt.reporting.figures import Figures
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, CandidateReport, Report, SourceReport
from grandopt.runtime.loader import load
from grandopt.signature import Array, Signature
from grandopt.verification.episodes import with_states
from grandopt.verification.inputs import ring
from grandopt.verification.samples import load_samples
from grandopt.workflows import records
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.job import STATE, Run, kept_when_stopped, remember, running
from grandopt.workflows.records import Summary
from grandopt.workflows.selection.build_stage import threads

Group = list[Artifact]


def benchmark_artifacts(
    job: Job,
    paths: Sequence[Path],
    *,
    trust: bool = False,
    samples: Path | None = None,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Measure artifacts. One record per group of equal inputs; the first artifact is the group's "original".

    Raises ArtifactError for one that is damaged or does not fit this machine, or that must be unpickled when
    `trust` was not said, before anything is measured.
    """
    artifacts = [read(path) for path in paths]
    for artifact in artifacts:
        load(artifact.path, trust=trust).close()
    summary = Summary("benchmark", job, command, now)
    done: list[AgentReport] = []
    with (
        kept_when_stopped(
            lambda: summary.report(done, [], "partial"),
            lambda unfinished: remember(job, unfinished, listener),
        ),
        running(job, job.output / STATE / "store", listener, summary.command) as run,
    ):
        done.extend(_measured(run, group, trust=trust, samples=samples) for group in _groups(artifacts))
    report = summary.report(done, [], "complete")
    remember(job, report, listener)
    return report


def _groups(artifacts: Sequence[Artifact]) -> list[Group]:
    found: dict[Signature, Group] = {}
    for artifact in artifacts:
        inputs = Signature(artifact.manifest.parsed_signature().inputs)
        found.setdefault(inputs, []).append(artifact)
    return list(found.values())


def _measured(run: Run, group: Group, *, trust: bool, samples: Path | None) -> AgentReport:
    first = group[0].manifest
    signature = first.parsed_signature()
    subjects = [Subject(str(artifact.path), artifact.path, trust=trust) for artifact in group]
    run.tell(first.name, "measure", ", ".join(subject.label for subject in subjects))
    given = None if samples is None else recorded(samples, group[0], trust=trust)
    inputs = ring(signature, samples=given, seed=run.job.seed)
    measurement = measure(subjects, inputs, run.release(threads(run)[-1]), run.pool)
    figures = {subject.label: _figures(measurement, subject, inputs) for subject in subjects}
    return AgentReport(
        name=first.name,
        status="measured",
        reason=f"compared with {subjects[0].label}",
        source=SourceReport(
            format=first.source.format,
            path=first.source.path,
            sha256=first.source.sha256,
            weights=first.source.weights,
        ),
        signature=signature.to_json(),
        contract=asdict(first.parsed_contract()),
        original=figures[subjects[0].label],
        candidates=_rows(group, subjects, measurement, figures),
    )


def recorded(samples: Path, artifact: Artifact, *, trust: bool) -> tuple[Array, ...]:
    """The samples of a file, with the states that the agent has at each. Raises SamplesError."""
    executor = load(artifact.path, trust=trust)
    try:
        observed = Signature(executor.signature.observed(executor.contract))
        return with_states(executor, load_samples(samples, observed))
    finally:
        executor.close()


def _rows(
    group: Group, subjects: Sequence[Subject], measurement: Measurement, figures: dict[str, Figures]
) -> tuple[CandidateReport, ...]:
    base = subjects[0].label
    fastest = min(figures, key=lambda label: figures[label].p50_us)
    return tuple(
        CandidateReport(
            label=subject.label,
            engine=artifact.manifest.engine,
            precision=artifact.manifest.precision,
            options=artifact.manifest.options,
            threads=measurement.settings.threads,
            status="chosen" if subject.label == fastest else "slower",
            reason_code=None if subject.label == fastest else ReasonCode.SLOWER,
            figures=figures[subject.label],
            speedup=records.ratio(measurement.ratio(base, subject.label)),
        )
        for artifact, subject in zip(group, subjects, strict=True)
    )


def _figures(measurement: Measurement, subject: Subject, inputs: Sequence[Array]) -> Figures:
    count = measurement.settings.threads
    cold = cold_start(subject, [array[:1] for array in inputs], threads=count)
    return records.figures(measurement, subject.label, cold=cold)
