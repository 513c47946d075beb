"""What the history keeps of a run: its frame, and one record per agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grandopt.reporting import evidence
from grandopt.reporting.evidence import TrialRecord
from grandopt.reporting.figures import Figures
from grandopt.reporting.report import AgentReport, Report
from grandopt.reporting.view import after_figures


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run. `machine` is the identity of the machine (see `measurement.environment`): figures of two runs
    may be compared only where it is the same. `libraries` maps their names to versions."""

    kind: str
    status: str
    started: str
    duration_s: float
    grandopt: str
    machine: str
    cpu_model: str | None
    python: str | None
    libraries: dict[str, str]
    profile: str | None
    seed: int
    threads: str
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AgentRecord:
    """One agent in one run: what it came from, what was shipped or was the fastest, and how fast that was.

    Figures are those of the report; a search knows only the latency and the throughput of its best trial, and
    the latency only at batch 1. `source` is the SHA-256 of the checkpoint, None for agents without a file.
    """

    agent: str
    status: str
    source: str | None = None
    goal: str | None = None
    engine: str | None = None
    precision: str | None = None
    label: str | None = None
    digest: str | None = None
    original_p50_us: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    qps: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    resident_mb: float | None = None
    artifact_bytes: int | None = None
    process_ms: float | None = None
    limit_factor: float | None = None
    stable: bool | None = None


@dataclass(frozen=True)
class Record:
    """One line of the history: an agent, and the run that it was in."""

    run: RunRecord
    agent: AgentRecord


def run_record(report: Report) -> RunRecord:
    """The frame of a report. A report without a machine identity is of a machine of its own, ""."""
    environment = report.environment
    libraries = environment.get("libraries")
    return RunRecord(
        kind=report.kind,
        status=report.status,
        started=report.started,
        duration_s=report.duration_s,
        grandopt=report.grandopt,
        machine=str(environment.get("identity") or ""),
        cpu_model=_text(environment.get("cpu_model")),
        python=_text(environment.get("python")),
        libraries={str(name): str(version) for name, version in libraries.items()}
        if isinstance(libraries, dict)
        else {},
        profile=_text((report.profile or {}).get("name")),
        seed=report.seed,
        threads=str(report.threads),
        command=report.command,
    )


def agent_records(report: Report) -> Iterator[AgentRecord]:
    """The agents that the run came to. Raises ReportError for a study in it that cannot be read."""
    for agent in report.agents:
        if agent.status != "not run":
            yield agent_record(agent)


def agent_record(agent: AgentReport) -> AgentRecord:
    """What the history keeps of an agent. Raises ReportError for a study that cannot be read."""
    after, study = after_figures(agent), evidence.tuning(agent)
    best = next((row for row in agent.candidates if row.status == "chosen"), None)
    made = agent.shipped or best
    searched = None
    if after is None and study is not None:
        searched = next((trial for trial in study.trials if trial.number == study.best), None)
    original, speedup = agent.original, agent.speedup
    return AgentRecord(
        agent=agent.name,
        status=agent.status,
        source=None if agent.source is None else agent.source.sha256,
        goal=None if study is None else study.goal,
        engine=None if made is None else made.engine,
        precision=None if made is None else made.precision,
        label=None if made is None else made.label,
        digest=None if agent.shipped is None else agent.shipped.digest,
        original_p50_us=None if original is None else original.p50_us,
        speedup=None if speedup is None else speedup.value,
        speedup_low=None if speedup is None else speedup.low,
        speedup_high=None if speedup is None else speedup.high,
        **(_figures(after) if after is not None else _searched(searched)),
    )


def _figures(figures: Figures) -> dict[str, Any]:
    names = (
        "p50_us",
        "p99_us",
        "qps",
        "resident_mb",
        "artifact_bytes",
        "process_ms",
        "limit_factor",
        "stable",
    )
    return {name: getattr(figures, name) for name in names}


def _searched(best: TrialRecord | None) -> dict[str, Any]:
    if best is None or best.figures is None:
        return {}
    single = best.choice.batch == 1
    return {"p50_us": best.figures.latency_us if single else None, "qps": best.figures.throughput}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
