"""Builds of reduced precision that were refused by little: whether one is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator

from grandopt.config.profiles import PROFILES
from grandopt.reporting.evidence import Verified, tuning, verified
from grandopt.reporting.recommendations.advice import GainReport, Recommendation
from grandopt.reporting.recommendations.command_line import changed_command
from grandopt.reporting.report import AgentReport, CandidateReport, Report
from grandopt.reporting.view import after_figures

NARROW = 2.0
"""A refused error of up to so many times its limit may be worth a second look; what is further off is not."""

BITS = {"float32": 32, "bfloat16": 16, "int8_dynamic": 8, "int8_static": 8, "mixed": 12}
"""Of a weight; mixed ones lie between those of their layers."""


def rejected_precisions(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    """The refused build nearest to its limit, if it is of fewer bits than what is shipped."""
    bits = BITS.get(agent.shipped.precision, 32) if agent.shipped is not None else 32
    near = []
    for row in agent.candidates:
        found = verified(agent, row) if row.status == "refused" else None
        share = None if found is None or found.worst is None else found.worst.share
        fewer = BITS.get(row.precision, 32)
        if found is None or share is None or share > NARROW or fewer >= bits or _is_behind(agent, row):
            continue
        near.append((share, row, found))
    if not near:
        return
    share, row, found = min(near, key=lambda item: item[0])
    worst, admits = found.worst, _maximum_admits(found)
    errors = "" if worst is None else f"its error is {worst.error:.2g} of at most {worst.limit:.2g} "
    yield Recommendation(
        topic="precision",
        advice=f"decide whether the agent may differ as far as {row.label} does"
        + (": the profile maximum admits it" if admits else "; samples of yours may judge it otherwise"),
        evidence=f"{row.label} was refused: {errors}({share:.2f}× the limit): {row.reason}",
        command=changed_command(
            report,
            agent.name,
            {"--profile": "maximum", "--budget": None} if admits else {"--samples": "FILE.npz"},
        ),
        gain=GainReport(kind="unknown", note="what is refused is not timed"),
    )


def _is_behind(agent: AgentReport, refused: CandidateReport) -> bool:
    """Whether a refused build would still be slower than what is shipped if it were as much faster than its
    engine at float32, as that was measured in this run, as it is smaller."""
    study, after = tuning(agent), after_figures(agent)
    measured = {
        row.label: row.figures.p50_us
        for row in agent.candidates
        if row.figures is not None and row.engine == refused.engine and row.precision == "float32"
    }
    tried = [
        trial.figures.latency_us
        for trial in (() if study is None else study.trials)
        if trial.figures is not None
        and trial.choice.candidate.startswith(f"{refused.engine}/float32")
        and trial.choice.candidate not in measured
        and trial.choice.batch == 1
    ]
    known = [*measured.values(), *tried]
    if not known or after is None:
        return False
    return min(known) * BITS.get(refused.precision, 32) / BITS["float32"] > after.p50_us


def _maximum_admits(found: Verified) -> bool:
    """Whether the profile maximum would have passed a build of reduced precision, by all that is recorded."""
    limits = PROFILES["maximum"].limits
    outputs = all(
        output.norm == "relative_l2" and output.error is not None and output.error <= limits.relative_l2
        for output in found.outputs
    )
    return outputs and (found.agreement is None or found.agreement >= limits.agreement)
