"""Two reports of one machine against each other: the rows of the gate, from figures taken earlier.

A report holds figures and no raw samples, and the two runs met the machine in different states. What cancels
most of that is the original, which both runs measured beside the shipped artifact: where it is the same
agent, the two speed-ups are compared. Their intervals come from a bootstrap over few processes, which is
known to be too narrow; they are widened to Student's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from grandopt.config.gate import GateFigure
from grandopt.errors import ReportError
from grandopt.measurement.compare.sequential import ALPHA, quantile
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.evidence import verified
from grandopt.reporting.figures import Figures, RatioReport
from grandopt.reporting.gate.result import AgentGate, FigureReport, Outcome, SideReport, outcome_of
from grandopt.reporting.report import AgentReport, Report, Shipped
from grandopt.workflows.gate.rows import UNITS, exact, unchecked

PROCESSES = 3
"""Over which the speed-ups of a report were resampled (see `run.RELEASE_PROCESSES`)."""

NORMAL_95 = 1.96
NEEDS_ARTIFACTS = Reason(
    ReasonCode.NEEDS_ARTIFACTS,
    "a report does not say how sure this figure is; compare the artifacts instead",
)
NO_COUNTS = Reason(
    ReasonCode.NEEDS_ARTIFACTS, "a report holds no instruction counts; compare the artifacts instead"
)
NOT_MEASURED = Reason(ReasonCode.NOT_MEASURED, "was not measured in one of the two runs")


def check_same_machine(baseline: Report, candidate: Report, paths: tuple[str, str]) -> None:
    """Raise ReportError unless both were made on machines whose times may be compared, with equal threads."""
    left, right = (report.environment.get("identity") for report in (baseline, candidate))
    if left is None or left != right:
        machines = [_machine(report) for report in (baseline, candidate)]
        raise ReportError(
            f"{paths[0]} and {paths[1]} are from different machines ({machines[0]}; {machines[1]}): times do "
            f"not carry over; compare the artifacts, which are measured again on this one"
        )
    if baseline.threads != candidate.threads:
        raise ReportError(
            f"{paths[0]} was measured with {baseline.threads} thread(s) and {paths[1]} with "
            f"{candidate.threads}: measure both with the same number"
        )


def shipped_agents(report: Report, path: str) -> dict[str, AgentReport]:
    """The agents of a report by name. Raises ReportError for a report without any that was shipped."""
    found = {agent.name: agent for agent in report.agents if agent.shipped and agent.shipped.figures}
    if not found:
        raise ReportError(f"{path}: holds no shipped agent with figures; make it with `grandopt optimize`")
    return found


def compare_records(
    name: str,
    baseline: AgentReport,
    candidate: AgentReport,
    limits: Mapping[GateFigure, float],
    paths: tuple[str, str],
    *,
    same_code: bool = False,
) -> AgentGate:
    """One agent of two reports. `same_code` says that both ran with the same Python and libraries."""
    rows = tuple(
        _row(figure, limit, baseline, candidate, same_code=same_code) for figure, limit in limits.items()
    )
    return AgentGate(
        name=name,
        outcome=outcome_of(row.outcome for row in rows),
        baseline=_side(baseline, paths[0]),
        candidate=_side(candidate, paths[1]),
        figures=rows,
        seconds=0.0,
    )


def _row(
    figure: GateFigure, limit: float, baseline: AgentReport, candidate: AgentReport, *, same_code: bool
) -> FigureReport:
    left, right = _figures(baseline), _figures(candidate)
    match figure:
        case "p50":
            return _speed(limit, baseline, candidate, same_code=same_code)
        case "size":
            return _exact(figure, limit, left.artifact_bytes, right.artifact_bytes)
        case "memory":
            return _exact(figure, limit, left.resident_mb, right.resident_mb)
        case "accuracy":
            return _exact(figure, limit, _error(baseline), _error(candidate))
        case "p99":
            return _unknown(figure, limit, left.p99_us, right.p99_us)
        case "cold_start":
            return _unknown(figure, limit, left.process_ms, right.process_ms)
        case "instructions":
            return unchecked(figure, limit, NO_COUNTS)


def _speed(limit: float, baseline: AgentReport, candidate: AgentReport, *, same_code: bool) -> FigureReport:
    """The change of the median latency, as that of the speed-up over the same original."""
    left, right = _figures(baseline), _figures(candidate)
    before, after = baseline.speedup, candidate.speedup
    if before is None or after is None or _original(baseline) != _original(candidate):
        return _unknown("p50", limit, left.p50_us, right.p50_us)
    change = math.log(before.value / after.value)
    spread = math.hypot(_deviation(before), _deviation(after))
    freedom = 2 * (PROCESSES - 1)
    half = quantile(1 - ALPHA / 2, freedom) * spread
    bound = math.log1p(limit)
    outcome: Outcome = "inconclusive"
    reason = "compared through the speed-ups over the same original"
    if same_code and _shipped(baseline).digest == _shipped(candidate).digest is not None:
        outcome, reason = "pass", "both runs shipped the same artifact, so that what differs is noise"
    elif change - half > bound:
        outcome = "regression"
    elif change + half <= bound:
        outcome = "pass"
    else:
        reason += "; compare the artifacts to be sure"
    return FigureReport(
        figure="p50",
        outcome=outcome,
        limit=limit,
        unit=UNITS["p50"],
        baseline=left.p50_us,
        candidate=right.p50_us,
        change=math.expm1(change),
        low=math.expm1(change - half),
        high=math.expm1(change + half),
        confidence=1 - ALPHA,
        reason=reason,
        reason_code=ReasonCode.UNDECIDED if outcome == "inconclusive" else None,
    )


def _original(agent: AgentReport) -> tuple[str | None, ...]:
    """What says that two originals are the same agent; where its file lay does not matter."""
    source = agent.source
    return (agent.name,) if source is None else (source.format, source.weights, source.sha256)


def _deviation(speedup: RatioReport) -> float:
    """The standard error of the logarithm of a speed-up.

    A bootstrap of n values has the deviation of their mean times the root of (n - 1) / n.
    """
    width = math.log(speedup.high / speedup.low) / (2 * NORMAL_95)
    return width / math.sqrt((PROCESSES - 1) / PROCESSES)


def _exact(figure: GateFigure, limit: float, baseline: float | None, candidate: float | None) -> FigureReport:
    if baseline is None or candidate is None:
        return unchecked(figure, limit, NOT_MEASURED)
    return exact(figure, limit, baseline, candidate)


def _unknown(
    figure: GateFigure, limit: float, baseline: float | None, candidate: float | None
) -> FigureReport:
    """A figure that has noise, of which the reports say nothing."""
    change = candidate / baseline - 1 if baseline and candidate is not None else None
    return FigureReport(
        figure=figure,
        outcome="inconclusive",
        limit=limit,
        unit=UNITS[figure],
        baseline=baseline,
        candidate=candidate,
        change=change,
        **reason_fields(NEEDS_ARTIFACTS if change is not None else NOT_MEASURED),
    )


def _error(agent: AgentReport) -> float | None:
    """The largest relative L2 error of what was shipped; 0 for float32, whose error is that of rounding."""
    shipped = _shipped(agent)
    if shipped.precision == "float32":
        return 0.0
    row = next((row for row in agent.candidates if row.label == shipped.label), None)
    checks = None if row is None else verified(agent, row)
    if checks is None:
        return None
    errors = [output.error for output in checks.outputs if output.norm == "relative_l2"]
    return None if not errors or None in errors else max(error for error in errors if error is not None)


def _figures(agent: AgentReport) -> Figures:
    figures = _shipped(agent).figures
    if figures is None:
        raise ReportError(f"agent {agent.name!r} has no figures; make the report again")
    return figures


def _shipped(agent: AgentReport) -> Shipped:
    if agent.shipped is None:
        raise ReportError(f"agent {agent.name!r} was not shipped; make the report again")
    return agent.shipped


def _side(agent: AgentReport, path: str) -> SideReport:
    shipped = _shipped(agent)
    return SideReport(path=path, engine=shipped.engine, precision=shipped.precision, digest=shipped.digest)


def _machine(report: Report) -> str:
    environment = report.environment
    identity = str(environment.get("identity") or "unknown")
    return f"{environment.get('cpu_model') or 'unknown processor'}, identity {identity[:12]}"
