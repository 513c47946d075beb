"""The verdict on one candidate."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.config.engine import Precision
from grandopt.config.schema import Limits
from grandopt.reason import Reason, ReasonCode
from grandopt.runtime.executors.base import Executor
from grandopt.verification.agreement import Agreement
from grandopt.verification.calls import CallError, Outputs, answers, call, unlike
from grandopt.verification.compare import (
    decision_check,
    float32_agreement,
    float32_check,
    layout,
    reduced_agreement,
    reduced_check,
    special_decisions,
)
from grandopt.verification.denormals import allowed
from grandopt.verification.drift import Drift, drift
from grandopt.verification.oracle import Oracle
from grandopt.verification.populated import populated
from grandopt.verification.result import OutputCheck, Verification


def verify(candidate: Executor, oracle: Oracle, *, precision: Precision, limits: Limits) -> Verification:
    """Compare a candidate with its original, through the call that is measured.

    `limits` applies to candidates whose `precision` is not "float32"; those that are have the float32 rule
    (see `tolerance`), and must also decide like the reference beside decision boundaries. A candidate with
    state is also stepped through whole episodes (see `drift`). One of reduced precision is also held to the
    limits on every population (see `populated`), and refused where too little of the network was exercised to
    show anything. One that raises, writes to its inputs, or is not deterministic is a failed Verification,
    not an error.
    """
    reduced = precision != "float32"
    idle = oracle.exercise.refusal if reduced and oracle.exercise is not None else None
    if idle is not None:
        return _verdict(oracle, precision, Reason(ReasonCode.NOT_EXERCISED, idle, "--samples FILE.npz"))
    try:
        results = allowed(candidate, oracle.known, oracle.decided, answers(candidate, oracle.cases))
        refusal = layout(oracle, results, strict=precision == "float32") or special_decisions(oracle, results)
        probes = _probed(candidate, oracle) if not reduced and refusal is None else []
        stepped = drift(candidate, oracle, precision=precision, limits=limits) if refusal is None else Drift()
        drawn = Drift()
        if reduced and refusal is None:
            drawn = populated(candidate, oracle, precision=precision, limits=limits)
    except CallError as error:
        return _verdict(oracle, precision, Reason(ReasonCode.CALL_FAILED, str(error)))
    if refusal is not None:
        return _verdict(oracle, precision, refusal)
    checks, agreements = _judged(oracle, precision, limits, results, probes)
    checks += (*stepped.checks, *drawn.checks)
    agreements += stepped.agreements
    required = 1.0 if precision == "float32" else limits.agreement
    exceeded = [_exceeded(check) for check in checks if not check.passed]
    differing = [agreement.refusal(required, evidence=reduced) for agreement in agreements]
    differing += [agreement.refusal(required, evidence=False) for agreement in drawn.agreements]
    agreements += drawn.agreements
    found = (*exceeded, *differing, stepped.reason, drawn.reason)
    reason = next((line for line in found if line is not None), None)
    return _verdict(oracle, precision, reason, checks, agreements, probes=len(probes) > 0)


def _judged(
    oracle: Oracle,
    precision: Precision,
    limits: Limits,
    results: Sequence[Outputs],
    probes: Sequence[Outputs],
) -> tuple[list[OutputCheck], list[Agreement]]:
    """The checks of single calls."""
    drawn = oracle.groups[0]
    if precision != "float32":
        checks = [reduced_check(oracle, output, results, limits) for output in oracle.floats]
        # Populations ask the same of the same kind of draws, and of more of them.
        agreements = [] if oracle.wide is not None else reduced_agreement(oracle, results, limits, drawn)
        return checks, agreements
    checks = [
        decision_check(oracle, output, [*results, *probes])
        if output in oracle.decided
        else float32_check(oracle, output, results)
        for output in range(len(oracle.specs))
    ]
    return checks, float32_agreement(oracle, results, checks, drawn)


def _probed(candidate: Executor, oracle: Oracle) -> list[Outputs]:
    found = []
    for item in oracle.probes:
        result = call(candidate, item.case)
        difference = unlike(result, item.expected)
        if difference is not None:
            raise CallError(f"{item.case.name}: {difference}")
        found.append(result)
    return found


def _exceeded(check: OutputCheck) -> Reason:
    """One line that says by how much a check failed."""
    place = f", worst in {check.case!r}" if check.case else ""
    times = f"{check.error / check.limit:.4g} times " if check.limit > 0 else ""
    match check.norm:
        case "max_abs":
            return Reason(
                ReasonCode.ERROR_TOO_LARGE,
                f"output {check.name!r}: error {check.error:.3g} is {times}the limit {check.limit:.3g} "
                f"(the original's own error is {check.yardstick:.3g}){place}",
            )
        case "relative_l2":
            return Reason(
                ReasonCode.ERROR_TOO_LARGE,
                f"output {check.name!r}: relative L2 error {check.error:.3%} is {times}the limit "
                f"{check.limit:.3%}{place}",
            )
        case "margin":
            return Reason(
                ReasonCode.ACTS_DIFFERENTLY,
                f"output {check.name!r}: decides otherwise at a margin of {check.error:.3g} of the scores, "
                f"{times}the limit {check.limit:.3g}{place}",
            )


def _verdict(
    oracle: Oracle,
    precision: Precision,
    reason: Reason | None,
    checks: Sequence[OutputCheck] = (),
    agreements: Sequence[Agreement] = (),
    *,
    probes: bool = False,
) -> Verification:
    rated = [agreement for agreement in agreements if agreement.rate is not None]
    lowest = min(rated, key=lambda agreement: agreement.same / agreement.samples, default=None)
    worst = max(checks, key=lambda check: check.error / check.limit if check.limit else 0.0, default=None)
    return Verification(
        passed=reason is None,
        reason=reason,
        precision=precision,
        outputs=tuple(checks),
        agreement=None if lowest is None else lowest.rate,
        agreement_samples=0 if lowest is None else lowest.samples,
        cases=len(oracle.known),
        steps=0 if oracle.steps is None else len(oracle.steps.known),
        boundary_probes=sum(item.case.batch for item in oracle.probes) if probes else 0,
        worst_case=None if worst is None else worst.case,
        populations=0 if oracle.wide is None or precision == "float32" else len(oracle.wide.groups),
        evidence=oracle.evidence.kind,
        reference_precision=oracle.reference_precision,
        skipped=oracle.skipped,
    )
