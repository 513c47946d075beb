"""What to try next with an agent, from what its report says and nothing else.

Each rule is one function that looks at the figures of one run and gives its recommendations. None promises
what was not measured: a gain is that of a measurement of this run, a bound that follows from its figures, or
it is said to be unknown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from grandopt.config.engines import ENGINE_CLASSES
from grandopt.config.profiles import PROFILES
from grandopt.measurement.settings import MOST_PROCESSES
from grandopt.reason import IN_TIME
from grandopt.reporting.figures import Figures
from grandopt.reporting.recommendations.advice import GainReport, Recommendation
from grandopt.reporting.recommendations.command_line import changed_command
from grandopt.reporting.recommendations.limits import WANT_SAMPLES, machines_limit
from grandopt.reporting.recommendations.rejected_precisions import BITS, rejected_precisions
from grandopt.reporting.report import AgentReport, CandidateReport, Report
from grandopt.reporting.units import duration, interval, rate
from grandopt.reporting.verdict import is_unsteady
from grandopt.reporting.view import after_figures

BATCHING = 1.5
"""From this factor of throughput on, batching is worth the longer call."""

THREADED_US = 50.0
"""Shorter calls are not shared among threads: waking one takes some µs, and each layer needs it twice."""

ON_ONE_THREAD = frozenset(name for name, kind in ENGINE_CLASSES.items() if kind.threads == "caller")


def with_recommendations(report: Report) -> Report:
    """The report with the recommendations for each of its agents. Raises ReportError for broken evidence."""
    agents = tuple(
        agent.model_copy(update={"recommendations": recommendations(report, agent)})
        for agent in report.agents
    )
    return report.model_copy(update={"agents": agents})


def recommendations(report: Report, agent: AgentReport) -> tuple[Recommendation, ...]:
    """What to try next with one agent, the most certain first; nothing for one that failed or did not run."""
    if agent.status in ("failed", "not run"):
        return ()
    rules = (
        *(_unsteady, _missing_engines, _late_candidates, _profile, _samples),
        *(rejected_precisions, _threads, _batching, machines_limit),
    )
    return tuple(found for rule in rules for found in rule(report, agent))


def _unsteady(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    if not is_unsteady(agent):
        return
    who = (("the original", agent.original), ("the shipped artifact", after_figures(agent)))
    unsteady = [(name, figures) for name, figures in who if figures is not None and figures.stable is False]
    governor = report.environment.get("governor")
    slow = governor is not None and governor != "performance"
    extra = f" and with the frequency governor set to performance (it is {governor})" if slow else ""
    budget, fewest = (report.profile or {}).get("budget_s"), _fewest_processes(unsteady)
    short = fewest is not None and fewest < MOST_PROCESSES and isinstance(budget, int | float)
    longer = f", or for longer: time was up after {fewest} of {MOST_PROCESSES} processes" if short else ""
    changed = {"--budget": f"{2 * budget:g}"} if short and budget is not None else {}
    spread = "" if agent.speedup is None else f"; the speed-up's is {interval(agent.speedup)}"
    yield Recommendation(
        topic="unstable",
        advice=f"measure again on an idle machine{extra}{longer}",
        evidence=f"{' and '.join(_spread(*item) for item in unsteady)}{spread}",
        command=changed_command(report, agent.name, changed),
        gain=GainReport(kind="none", note="no faster agent, but a figure to rely on"),
    )


def _fewest_processes(unsteady: Sequence[tuple[str, Figures]]) -> int | None:
    return min((figures.processes for _, figures in unsteady if figures.processes is not None), default=None)


def _spread(name: str, figures: Figures) -> str:
    """How well the median of an unsteady one is told."""
    if figures.p50_low_us is None or figures.p50_high_us is None:
        return f"the speed of {name} was not steady"
    low, high = duration(figures.p50_low_us), duration(figures.p50_high_us)
    return f"the 95 % interval of the median of {name} is {low} to {high}"


def _missing_engines(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    missing: dict[str, list[CandidateReport]] = {}
    for row in agent.candidates:
        if row.status == "unavailable":
            missing.setdefault(row.engine, []).append(row)
    for engine, rows in missing.items():
        reason, remedy = rows[0].reason or "", rows[0].remedy
        yield Recommendation(
            topic="engine",
            advice=f"install the engine {engine} and run again",
            evidence=f"{len(rows)} of {len(agent.candidates)} candidates were not tried: {reason}",
            command=() if remedy is None else _words(remedy),
            gain=GainReport(kind="unknown", note=f"nothing of {engine} was measured in this run"),
        )


def _late_candidates(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    late = [row for row in agent.candidates if row.reason_code in IN_TIME]
    budget = (report.profile or {}).get("budget_s")
    if not late or not isinstance(budget, int | float):
        return
    yield Recommendation(
        topic="budget",
        advice=f"give more time than {budget:g} s",
        evidence=f"{len(late)} of {len(agent.candidates)} candidates were not ready in time: {_named(late)}",
        command=changed_command(report, agent.name, {"--budget": f"{2 * budget:g}"}),
        gain=GainReport(kind="unknown", note="they were not measured in this run"),
    )


def _profile(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    name = (report.profile or {}).get("name")
    wanting = agent.status == "original kept" or agent.targets.met is False
    if name not in PROFILES or name == "maximum" or not wanting:
        return
    now, most = PROFILES[name].limits, PROFILES["maximum"].limits
    yield Recommendation(
        topic="profile",
        advice=f"search with the profile maximum, which admits a relative error of {most.relative_l2:.2g} "
        f"instead of {now.relative_l2:.2g}",
        evidence="; ".join(agent.targets.misses) or agent.reason or agent.status,
        command=changed_command(report, agent.name, {"--profile": "maximum", "--budget": None}),
        gain=GainReport(kind="unknown", note=f"what the profile {name} leaves out was not measured"),
    )


def _samples(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    for refusal in agent.refusals:
        if refusal.stage in BITS and refusal.reason_code in WANT_SAMPLES:
            after = after_figures(agent)
            beside = "" if after is None else f"; the fastest that was tried takes {duration(after.p50_us)}"
            yield Recommendation(
                topic="samples",
                advice=f"record observations: {refusal.stage} is calibrated on them, and what is shipped is "
                f"then verified and measured with what the agent sees",
                evidence=f"no candidate of {refusal.stage} was built{beside}",
                command=changed_command(report, agent.name, {"--samples": "FILE.npz"}),
                gain=GainReport(kind="unknown", note=f"nothing at {refusal.stage} was measured in this run"),
            )


def _threads(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    """More threads, where some engine that has threads would win if it used them perfectly."""
    cores, after = report.environment.get("available_cores"), after_figures(agent)
    if report.threads != 1 or not isinstance(cores, int) or cores < 2 or after is None:
        return
    threaded = [
        (row.figures.p50_us, row.label)
        for row in agent.candidates
        if row.figures is not None and row.engine not in ON_ONE_THREAD
    ]
    if not threaded or after.p50_us < THREADED_US:
        return
    p50_us, label = min(threaded)
    bound = after.p50_us * cores / p50_us
    if bound <= 1:
        return
    yield Recommendation(
        topic="threads",
        advice=f"try up to {cores} threads a call",
        evidence=f"{label} takes {duration(p50_us)} on one of {cores} cores, what is shipped "
        f"{duration(after.p50_us)}",
        command=changed_command(report, agent.name, {"--threads": "auto"}),
        gain=GainReport(
            kind="at most",
            factor=bound,
            of="latency",
            note=f"if {label} ran {cores} times as fast on {cores} cores",
        ),
    )


def _batching(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    label = None if agent.shipped is None else agent.shipped.label
    curve = next((curve for curve in agent.curves if curve.label == label), None)
    points = (
        [] if curve is None else [point for point in curve.points if point.stable and point.throughput > 0]
    )
    single = next((point for point in points if point.batch == 1), None)
    if single is None:
        return
    best = max(points, key=lambda point: point.throughput)
    factor = best.throughput / single.throughput
    if factor < BATCHING:
        return
    yield Recommendation(
        topic="batch",
        advice=f"where observations can wait for each other, give up to {best.batch} in one call",
        evidence=f"{label}: {rate(single.throughput)} observations/s one by one, "
        f"{rate(best.throughput)} at batch {best.batch}, where a call takes {duration(best.p50_us)} instead "
        f"of {duration(single.p50_us)}",
        command=changed_command(report, agent.name, {"--goal": "throughput"}, to="tune"),
        gain=GainReport(kind="measured", factor=factor, of="throughput", note=f"at batch {best.batch}"),
    )


def _words(line: str) -> tuple[str, ...]:
    """A shell line as a command; one of several commands stays one word."""
    words = tuple(shlex.split(line))
    return (line,) if "&&" in words else words


def _named(rows: list[CandidateReport], most: int = 4) -> str:
    names = ", ".join(row.label for row in rows[:most])
    return names if len(rows) <= most else f"{names} and {len(rows) - most} more"
