"""What to try next with an agent, from what its report says and nothing else.

Each rule is one function that looks at the figures of one run and gives its recommendations. None promises
what was not measured: a gain is that of a measurement of this run, a bound that follows from its figures, or
it is said to be unknown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from grandopt.config.profiles import PROFILES
from grandopt.reporting.advice import GainReport, Recommendation
from grandopt.reporting.again import again
from grandopt.reporting.near_misses import BITS, narrowly_refused
from grandopt.reporting.report import AgentReport, CandidateReport, Report
from grandopt.reporting.verdict import duration, interval, is_unsteady, rate
from grandopt.reporting.view import after_figures

BATCHING = 1.5
"""From this factor of throughput on, batching is worth the longer call."""

NEAR = 2.0
"""A median of up to so many times the machine's limit leaves little to gain."""

FAR = 4.0
FAR_US = 20.0
"""Above both, one call is long enough, and far enough from the limit, to ask where its time goes."""

THREADED_US = 50.0
"""Shorter calls are not shared among threads: waking one takes some µs, and each layer needs it twice."""

ON_ONE_THREAD = "native"
INSTALL = re.compile(r"pip install [^`;]+")


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
        *(narrowly_refused, _threads, _batching, _limit),
    )
    return tuple(found for rule in rules for found in rule(report, agent))


def _unsteady(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    if not is_unsteady(agent):
        return
    who = [
        name
        for name, figures in (
            ("the original", agent.original),
            ("the shipped artifact", after_figures(agent)),
        )
        if figures is not None and figures.stable is False
    ]
    governor = report.environment.get("governor")
    slow = governor is not None and governor != "performance"
    extra = f" and with the frequency governor set to performance (it is {governor})" if slow else ""
    spread = "" if agent.speedup is None else f"; the speed-up's interval is {interval(agent.speedup)}"
    yield Recommendation(
        topic="unstable",
        advice=f"measure again on an idle machine{extra}",
        evidence=f"the medians of the last windows of {' and '.join(who)} differ by more than 10 %{spread}",
        command=again(report, agent.name),
        gain=GainReport(kind="none", note="no faster agent, but a figure to rely on"),
    )


def _missing_engines(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    missing: dict[str, list[CandidateReport]] = {}
    for row in agent.candidates:
        if row.status == "unavailable":
            missing.setdefault(row.engine, []).append(row)
    for engine, rows in missing.items():
        reason = rows[0].reason or ""
        install = INSTALL.search(reason)
        yield Recommendation(
            topic="engine",
            advice=f"install the engine {engine} and run again",
            evidence=f"{len(rows)} of {len(agent.candidates)} candidates were not tried: {reason}",
            command=() if install is None else tuple(shlex.split(install[0])),
            gain=GainReport(kind="unknown", note=f"nothing of {engine} was measured in this run"),
        )


def _late_candidates(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    late = [
        row
        for row in agent.candidates
        if row.status == "not measured" and "time budget" in (row.reason or "")
    ]
    budget = (report.profile or {}).get("budget_s")
    if not late or not isinstance(budget, int | float):
        return
    yield Recommendation(
        topic="budget",
        advice=f"give more time than {budget:g} s",
        evidence=f"{len(late)} of {len(agent.candidates)} candidates were not ready in time: {_named(late)}",
        command=again(report, agent.name, {"--budget": f"{2 * budget:g}"}),
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
        command=again(report, agent.name, {"--profile": "maximum", "--budget": None}),
        gain=GainReport(kind="unknown", note=f"what the profile {name} leaves out was not measured"),
    )


def _samples(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    for refusal in agent.refusals:
        if refusal.stage in BITS and "--samples" in refusal.reason:
            after = after_figures(agent)
            beside = "" if after is None else f"; the fastest that was tried takes {duration(after.p50_us)}"
            yield Recommendation(
                topic="samples",
                advice=f"record observations: {refusal.stage} is calibrated on them, and what is shipped is "
                f"then verified and measured with what the agent sees",
                evidence=f"no candidate of {refusal.stage} was built{beside}",
                command=again(report, agent.name, {"--samples": "FILE.npz"}),
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
        if row.figures is not None and row.engine != ON_ONE_THREAD
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
        command=again(report, agent.name, {"--threads": "auto"}),
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
        command=again(report, agent.name, {"--goal": "throughput"}, to="tune"),
        gain=GainReport(kind="measured", factor=factor, of="throughput", note=f"at batch {best.batch}"),
    )


def _limit(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    after = after_figures(agent)
    if after is None or after.limit_factor is None or after.limit_us is None:
        return
    factor = after.limit_factor
    evidence = (
        f"p50 {duration(after.p50_us)}, {factor:.2g}× the machine's limit of {duration(after.limit_us)}"
    )
    note = "up to the machine's limit, which better kernels and reduced precision can pass"
    bound = GainReport(kind="at most", factor=factor, of="latency", note=note)
    if factor <= NEAR:
        beyond = GainReport(kind="none", note="it is faster than numpy's float32 kernels allow")
        yield Recommendation(
            topic="limit",
            advice="leave it: to be faster, an agent has to be smaller, or get several observations a call",
            evidence=evidence,
            command=(),
            gain=bound if factor > 1 else beyond,
        )
    elif factor >= FAR and after.p50_us >= FAR_US:
        yield Recommendation(
            topic="headroom",
            advice="see which operators and layers take the time",
            evidence=evidence,
            command=again(report, agent.name, to="benchmark", flags=("--operators",)),
            gain=bound,
        )


def _named(rows: list[CandidateReport], most: int = 4) -> str:
    names = ", ".join(row.label for row in rows[:most])
    return names if len(rows) <= most else f"{names} and {len(rows) - most} more"
