"""What the machine's limit leaves to gain: fewer bits, a look at the operators, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from grandopt.reason import ReasonCode
from grandopt.reporting.figures import LimitReport
from grandopt.reporting.machine_limit import limit_words
from grandopt.reporting.recommendations.advice import GainReport, Recommendation
from grandopt.reporting.recommendations.command_line import changed_command
from grandopt.reporting.report import AgentReport, Report
from grandopt.reporting.units import duration
from grandopt.reporting.view import after_figures

AT = 1.1
"""A median of up to so many times the limit of the best admissible precision leaves nothing to gain."""

NEAR = 2.0
"""Up to so many times its own precision's limit an agent gains more by fewer bits than by better code."""

FAR = 4.0
FAR_US = 20.0
"""Above both, one call is long enough, and far enough from the limit, to ask where its time goes."""

WANT_SAMPLES = (ReasonCode.NEEDS_SAMPLES, ReasonCode.NEEDS_EVIDENCE)

_ADMITTED = ("chosen", "slower", "pruned")


def machines_limit(report: Report, agent: AgentReport) -> Iterator[Recommendation]:
    """What to do by the distance to the machine's limit; nothing where that is not known, or wrong."""
    after = after_figures(agent)
    if after is None or after.limit is None or not after.limit_factor or after.below_limit:
        return
    own, factor = after.limit, after.limit_factor
    known = [limit for limit in agent.limits if not _is_refused(agent, limit.precision)]
    best = min(known, key=lambda limit: limit.us, default=own)
    left = after.p50_us / min(best.us / (own.threads / best.threads), own.us)
    evidence = (
        f"p50 {duration(after.p50_us)}, {factor:.2g}× the machine's limit of {duration(own.us)} "
        f"({limit_words(own)})"
    )
    bound = GainReport(kind="at most", factor=left, of="latency", note=_note(best))
    if own.source == "kernels" and left <= AT:
        yield Recommendation(
            topic="limit",
            advice="leave it: to be faster, an agent has to be smaller, or get several observations a call",
            evidence=evidence,
            command=(),
            gain=bound,
        )
    elif own.source == "kernels" and factor <= NEAR and left > AT * factor:
        yield Recommendation(
            topic="bits",
            advice=_fewer_bits(own, factor, best.precision, _state(agent, best.precision)),
            evidence=evidence,
            command=_command(report, agent, best.precision),
            gain=bound,
        )
    elif factor >= FAR and after.p50_us >= FAR_US:
        yield Recommendation(
            topic="headroom",
            advice="see which operators and layers take the time",
            evidence=evidence,
            command=changed_command(report, agent.name, to="benchmark", flags=("--operators",)),
            gain=bound,
        )


def _note(best: LimitReport) -> str:
    if best.source != "kernels":
        return "up to what numpy's float32 BLAS reaches, which better kernels can pass"
    return f"up to the machine's limit at {best.precision}"


def _fewer_bits(own: LimitReport, factor: float, precision: str, state: str) -> str:
    share = f"{1 / factor:.0%}"
    if own.bound == "reading":
        caches = f"the caches (as far as {own.cache})"
        return f"the weights are read at {share} of the speed of {caches}: fewer bytes is what helps; {state}"
    return f"the arithmetic is at {share} of the peak of {own.precision}: {precision} is what helps; {state}"


def _is_refused(agent: AgentReport, precision: str) -> bool:
    """Whether verification judged builds of a precision and admitted none."""
    states = {row.status for row in agent.candidates if row.precision == precision}
    return "refused" in states and not states & {*_ADMITTED, "not measured"}


def _state(agent: AgentReport, precision: str) -> str:
    """What became of a precision in this run."""
    rows = [row for row in agent.candidates if row.precision == precision]
    measured = [row for row in rows if row.figures is not None]
    if measured:
        fastest = min(measured, key=lambda row: row.figures.p50_us if row.figures is not None else 0.0)
        took = "" if fastest.figures is None else f" takes {duration(fastest.figures.p50_us)}"
        return f"{fastest.label}{took}, far from its own limit"
    refused = [item.reason for item in agent.refusals if item.stage == precision]
    reasons = [*refused, *(row.reason for row in rows if row.reason)]
    why = reasons[0] if reasons else "it was not among the precisions of this run"
    return f"{precision} was not measured: {why}"


def _command(report: Report, agent: AgentReport, precision: str) -> tuple[str, ...]:
    """What tries a precision, or shows where the time of its builds goes."""
    rows = [row for row in agent.candidates if row.precision == precision]
    refusals = [item for item in agent.refusals if item.stage == precision]
    if any(item.reason_code in WANT_SAMPLES for item in refusals):
        return changed_command(report, agent.name, {"--samples": "FILE.npz"})
    if not rows and not refusals:
        return changed_command(report, agent.name, {"--precision": precision})
    return changed_command(report, agent.name, to="benchmark", flags=("--operators",))
