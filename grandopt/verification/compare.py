"""A candidate's outputs beside the right ones, output by output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.config.schema import Limits
from grandopt.reason import Reason, ReasonCode
from grandopt.signature import Array
from grandopt.verification.agreement import (
    FLOAT32_ACTION,
    UNDECLARED,
    Agreement,
    of_actions,
    of_decisions,
    of_highest,
    of_scores,
)
from grandopt.verification.calls import Outputs, unlike
from grandopt.verification.known import CaseGroup, Known
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import OutputCheck
from grandopt.verification.tolerance import ErrorBound, float32_bounds, float32_limit, spread


def layout(oracle: Oracle, results: Sequence[Outputs], *, strict: bool) -> Reason | None:
    """The first case whose outputs have other shapes, dtypes, or NaN and infinities than the original's.

    NaN, inf and -inf are told apart: a clipped action makes a bound of an infinity, and NaN of NaN. Unless
    `strict`, a row with NaN or infinity in may be answered with more NaN than the original's: integer
    arithmetic has no infinity to pass on, and NaN claims nothing. It may never be answered with less.
    """
    for item, result in zip(oracle.known, results, strict=True):
        difference = unlike(result, item.expected)
        if difference is not None:
            return Reason(ReasonCode.OTHER_OUTPUTS, f"{item.case.name}: {difference}")
        for output in oracle.floats:
            values, expected = result[output], item.expected[output]
            if not strict:
                open_rows = item.dirty.reshape(-1, *[1] * (values.ndim - 1))
                expected = np.where(open_rows & np.isnan(values), np.nan, expected)
            difference = _nonfinite(values, expected)
            if difference is not None:
                words = f"{item.case.name}: output {oracle.specs[output].name!r} {difference}"
                return Reason(ReasonCode.OTHER_OUTPUTS, words)
    return None


def _nonfinite(values: Array, expected: Array) -> str | None:
    for name, test in (("NaN", np.isnan), ("inf", np.isposinf), ("-inf", np.isneginf)):
        here, there = test(values), test(expected)
        if not np.array_equal(here, there):
            odd = here & ~there
            if odd.any():
                return (
                    f"is {name} in {int(odd.sum())} places where the original is {expected[odd].flat[0]:.4g}"
                )
            odd = there & ~here
            return f"is {values[odd].flat[0]:.4g} where the original is {name} ({int(odd.sum())} places)"
    return None


def special_decisions(oracle: Oracle, results: Sequence[Outputs]) -> Reason | None:
    """The first row with NaN or infinity in, or out of its scores, that is decided in another way."""
    for item, result in zip(oracle.known, results, strict=True):
        for output in oracle.decided:
            wrong = item.differs(output, result[output]) & np.isinf(item.margins) & item.dirty
            if wrong.any():
                row = int(wrong.argmax())
                return Reason(
                    ReasonCode.ACTS_DIFFERENTLY,
                    f"{item.case.name}: output {oracle.specs[output].name!r} is "
                    f"{result[output][row].tolist()} where the original gives "
                    f"{item.expected[output][row].tolist()}",
                )
    return None


def float32_check(oracle: Oracle, output: int, results: Sequence[Outputs]) -> OutputCheck:
    """The float32 rule on every group; the returned check is of the group that used most of its limit."""
    found: list[tuple[ErrorBound, str]] = []
    for place, group in enumerate(oracle.groups):
        errors = spread(*_rows(oracle, group, output, results))
        drawn = oracle.spreads[0, output] if place else None
        case = _row_case(oracle, group, errors.row)
        found += [(bound, case) for bound in float32_bounds(errors, oracle.spreads[place, output], drawn)]
    bound, case = max(found, key=lambda item: item[0].usage)
    name = oracle.specs[output].name
    return OutputCheck(name, "max_abs", bound.error, bound.limit, bound.yardstick, case)


def reduced_check(
    oracle: Oracle, output: int, results: Sequence[Outputs], limits: Limits, group: CaseGroup | None = None
) -> OutputCheck:
    """Relative L2 error over all rows within the space: drawn, alone, edges, clean rows beside NaN; with
    `group` over the rows of that group.

    They are pooled, so that a case that is all wrong shows and one that is by nature near 0 is not judged by
    its own tiny norm. Values beyond an unbounded space only have to stay finite (see `layout`).
    """
    values, truth, own = [], [], []
    worst, worst_squares = None, -1.0
    for place in range(len(oracle.known)) if group is None else group.members:
        item, result = oracle.known[place], results[place]
        if item.case.kind == "beyond":
            continue
        clean = ~item.dirty
        if not clean.any():
            continue
        values.append(result[output][clean])
        truth.append(item.truth[output][clean])
        own.append(item.expected[output][clean])
        squares = spread(values[-1], truth[-1]).squares / len(truth[-1])
        if squares > worst_squares:
            worst, worst_squares = item.case.name, squares
    joined = np.concatenate(truth)
    error = spread(np.concatenate(values), joined).relative_l2
    yardstick = spread(np.concatenate(own), joined).relative_l2
    name = oracle.specs[output].name
    return OutputCheck(name, "relative_l2", error, limits.relative_l2, yardstick, worst)


def margin_limit(oracle: Oracle) -> float:
    """The relative margin beyond which a float32 decision has to be right: the float32 rule for margins."""
    return float32_limit(oracle.margin_yardstick, 1.0)


def decision_check(oracle: Oracle, output: int, results: Sequence[Outputs]) -> OutputCheck:
    """The largest relative margin at which a float32 decision differs, over all cases and all probes.

    `results` holds the answers to the cases, followed by those to the probes.
    """
    error, case = 0.0, None
    for item, result in zip((*oracle.known, *oracle.probes), results, strict=True):
        wrong = item.differs(output, result[output])
        margin = float(item.margins[wrong].max(initial=0.0))
        if margin > error:
            error, case = margin, item.case.name
    name = oracle.specs[output].name
    return OutputCheck(name, "margin", error, margin_limit(oracle), oracle.margin_yardstick, case)


def float32_agreement(
    oracle: Oracle, results: Sequence[Outputs], checks: Sequence[OutputCheck], group: CaseGroup
) -> list[Agreement]:
    """Agreement on the samples of a group whose margin exceeds what float32 may be off by."""
    found = []
    for output, spec in enumerate(oracle.specs):
        if output in oracle.decided:
            known, answers = _members(oracle, group, results)
            found.append(of_decisions(spec, output, known, answers, margin_limit(oracle)))
            continue
        values, truth = _rows(oracle, group, output, results)
        if spec.role == "scores":
            # Two scores that are each off by up to the limit can come twice as close.
            found.append(of_scores(spec, values, truth, 2 * checks[output].limit))
        elif spec.role == "action":
            found.append(of_actions(spec, oracle.contract, values, truth, FLOAT32_ACTION))
    return found


def reduced_agreement(
    oracle: Oracle, results: Sequence[Outputs], limits: Limits, group: CaseGroup
) -> list[Agreement]:
    """Agreement on the samples of a group whose margin exceeds the error.

    The error of scores is the candidate's own largest one. Behind a decision it cannot be seen,
    and is taken to be all that the limits allow: `relative_l2` of the largest score. A continuous
    action may be off by that fraction of its range. Where nobody said what an output is for, its arg max
    counts on every recorded row; of draws, the populations ask for it.
    """
    found = []
    for output, spec in enumerate(oracle.specs):
        if output in oracle.decided:
            known, answers = _members(oracle, group, results)
            found.append(of_decisions(spec, output, known, answers, limits.relative_l2))
            continue
        values, truth = _rows(oracle, group, output, results)
        if output in oracle.undeclared and oracle.evidence.kind == "recorded":
            found.append(of_highest(spec, values, truth, UNDECLARED))
        elif spec.role == "scores":
            found.append(of_scores(spec, values, truth, spread(values, truth).error))
        elif spec.role == "action":
            found.append(of_actions(spec, oracle.contract, values, truth, limits.relative_l2))
    return found


def _members(
    oracle: Oracle, group: CaseGroup, results: Sequence[Outputs]
) -> tuple[list[Known], list[Outputs]]:
    return [oracle.known[place] for place in group.members], [results[place] for place in group.members]


def _rows(oracle: Oracle, group: CaseGroup, output: int, results: Sequence[Outputs]) -> tuple[Array, Array]:
    truth = [item.truth for item in oracle.known]
    return group.gather(results, output).astype(np.float64), group.gather(truth, output)


def _row_case(oracle: Oracle, group: CaseGroup, row: int) -> str:
    """The name of the case that a row of a group belongs to."""
    sizes = np.cumsum([oracle.known[place].case.batch for place in group.members])
    return oracle.known[group.members[int(np.searchsorted(sizes, row, side="right"))]].case.name
