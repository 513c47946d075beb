"""Verdicts on executors that are right, and on executors that are wrong in one known way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from grandopt.config.schema import Limits
from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature, TensorSpec
from grandopt.verification.inputs import Case, cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify
from tests.fakes_verification import (
    Contagious,
    Drifting,
    FirstRow,
    Head,
    NumpyExecutor,
    NumpyReference,
    Raising,
    Reusing,
    Swallowing,
    Weights,
    Widening,
    Writing,
)

WEIGHTS = Weights.seeded()
LIMITS = Limits(relative_l2=0.02, agreement=0.98)
STRICT = Limits(relative_l2=0.001, agreement=0.98)
HEADS: tuple[Head, ...] = ("values", "softmax", "argmax", "binary", "continuous")
FLOATS: tuple[Head, ...] = ("values", "softmax", "continuous")
every_head = pytest.mark.parametrize("head", HEADS)


@cache
def oracle(head: Head, precision: str = "float64") -> Oracle:
    original = NumpyExecutor(head, WEIGHTS)
    reference = NumpyReference(head, WEIGHTS)
    if precision == "float32":
        reference = reference.in_float32()
    return Oracle.prepare(reference, original, cases(original.signature), original.contract)


def verdict(candidate: NumpyExecutor, precision: str = "float64") -> Verification:
    return verify(candidate, oracle(candidate.head, precision), precision="float32", limits=LIMITS)


def reduced(candidate: NumpyExecutor, limits: Limits = LIMITS) -> Verification:
    return verify(candidate, oracle(candidate.head), precision="int8_dynamic", limits=limits)


@every_head
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_an_exact_copy_passes(head: Head, precision: str) -> None:
    found = verdict(NumpyExecutor(head, WEIGHTS), precision)
    assert found.passed, found.reason
    assert found.reason is None
    assert found.reference_precision == precision
    assert bool(found.skipped) == (precision == "float32")


@every_head
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_another_order_of_summation_passes(head: Head, precision: str) -> None:
    candidate = NumpyExecutor(head, WEIGHTS, reverse=True)
    found = verdict(candidate, precision)
    assert found.passed, found.reason
    if head == "values":
        assert found.outputs[0].error > 0, "the order must make a difference for this test to mean anything"


@every_head
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(5))
def test_weights_perturbed_by_a_thousandth_are_rejected(head: Head, precision: str, seed: int) -> None:
    found = verdict(NumpyExecutor(head, WEIGHTS.perturbed(1e-3, seed + 1)), precision)
    assert not found.passed
    assert found.reason is not None
    assert "times the limit" in found.reason.text
    assert found.worst_case is not None


@pytest.mark.parametrize("head", ["argmax", "binary"])
def test_only_the_boundary_probes_see_what_is_wrong_behind_a_decision(head: Head) -> None:
    known = oracle(head)
    found = verdict(NumpyExecutor(head, WEIGHTS.perturbed(1e-4)))
    assert found.agreement == 1.0
    assert found.boundary_probes > 200
    assert not found.passed
    assert "boundary probes" in str(found.worst_case)
    assert found.outputs[0].norm == "margin"
    assert found.outputs[0].limit < 1e-5
    assert known.probes


@every_head
def test_nan_must_not_become_a_confident_action(head: Head) -> None:
    found = verdict(Swallowing(head, WEIGHTS))
    assert not found.passed
    assert "NaN" in str(found.reason)
    if head in FLOATS:
        assert not reduced(Swallowing(head, WEIGHTS)).passed


@pytest.mark.parametrize("head", FLOATS)
def test_one_row_with_nan_must_not_spoil_its_neighbours(head: Head) -> None:
    for found in (verdict(Contagious(head, WEIGHTS)), reduced(Contagious(head, WEIGHTS))):
        assert not found.passed
        assert "is NaN in" in str(found.reason)


class Saturating(NumpyExecutor):
    """Infinite where the scores are large."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        return (np.where(np.abs(inputs[0]).max(axis=-1, keepdims=True) > 1e3, np.float32(np.inf), result),)


def test_infinities_where_the_original_has_none_are_rejected_in_any_precision() -> None:
    for found in (verdict(Saturating("values", WEIGHTS)), reduced(Saturating("values", WEIGHTS))):
        assert not found.passed
        assert str(found.reason).startswith("large values: output 'value' is inf in")


class Guarded(NumpyExecutor):
    """Answers every row that is not finite with NaN, as guarded integer arithmetic does."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        clean = np.isfinite(inputs[0]).all(axis=-1, keepdims=True)
        return (np.where(clean, result, np.float32(np.nan)),)


def test_reduced_precision_may_claim_nothing_where_infinity_comes_in() -> None:
    assert reduced(Guarded("values", WEIGHTS)).passed
    found = verdict(Guarded("values", WEIGHTS))
    assert not found.passed
    assert "inf" in str(found.reason)


@every_head
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (Reusing, "overwrites the outputs"),
        (Writing, "writes to its input 'obs'"),
        (Raising, r"RuntimeError: shape '[1, 6]' is invalid for input of size 12"),
    ],
)
def test_breaking_the_contract_of_executors_is_a_verdict(
    head: Head, wrong: type[NumpyExecutor], complaint: str
) -> None:
    found = verdict(wrong(head, WEIGHTS))
    assert not found.passed
    assert complaint in str(found.reason)
    assert "\n" not in str(found.reason)


@every_head
def test_a_row_must_not_depend_on_its_neighbours(head: Head) -> None:
    assert not verdict(FirstRow(head, WEIGHTS)).passed
    assert not reduced(FirstRow(head, WEIGHTS)).passed


class Averaging(NumpyExecutor):
    """Single calls are computed as if half of a batch were padding."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        return (result * np.float32(0.9) if len(result) == 1 else result,)


def test_single_calls_are_compared_with_the_rows_of_a_batch() -> None:
    found = verdict(Averaging("values", WEIGHTS))
    assert not found.passed
    assert "alone" in str(found.worst_case) or "(batch 1)" in str(found.worst_case)


@pytest.mark.parametrize("head", FLOATS)
def test_the_same_call_has_the_same_answer(head: Head) -> None:
    found = verdict(Drifting(head, WEIGHTS))
    assert not found.passed
    assert "the same call twice in a row gives different outputs" in str(found.reason)


@pytest.mark.parametrize("head", FLOATS)
def test_another_dtype_or_shape_is_rejected(head: Head) -> None:
    assert "output 0 is float64" in str(verdict(Widening(head, WEIGHTS)).reason)
    narrow = NumpyExecutor(head, Weights.seeded(outputs=3))
    assert "output 0 is float32 [1, 3], the original's float32 [1, 4]" in str(verdict(narrow).reason)


@every_head
def test_rounding_to_eight_bits_passes_within_the_limits(head: Head) -> None:
    found = reduced(NumpyExecutor(head, WEIGHTS.rounded(8)))
    assert found.passed, found.reason
    as_float32 = verdict(NumpyExecutor(head, WEIGHTS.rounded(8)))
    assert not as_float32.passed, "what reduced precision may do, float32 may not"


def test_stricter_limits_refuse_it_and_say_by_how_much() -> None:
    found = reduced(NumpyExecutor("values", WEIGHTS.rounded(8)), STRICT)
    assert not found.passed
    (check,) = found.outputs
    assert check.norm == "relative_l2"
    assert check.limit == STRICT.relative_l2
    assert STRICT.relative_l2 < check.error < LIMITS.relative_l2
    assert f"relative L2 error {check.error:.3%} is {check.error / check.limit:.4g} times" in str(
        found.reason
    )


@pytest.mark.parametrize("bits", range(3, 11))
def test_looser_limits_never_refuse_what_stricter_ones_accept(bits: int) -> None:
    candidate = NumpyExecutor("values", WEIGHTS.rounded(bits))
    ladder = [reduced(candidate, Limits(relative_l2=2.0**-power, agreement=0.9)) for power in range(12)]
    verdicts = [found.passed for found in ladder]
    assert verdicts == sorted(verdicts, reverse=True)


class Flipping(NumpyExecutor):
    """Swaps the order of two close probabilities by moving each a little more than half of their distance."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        order = np.argsort(result, axis=-1)
        for row, (second, first) in enumerate(order[:, -2:]):
            if 0.02 < result[row, first] - result[row, second] < 0.035:
                middle = (result[row, first] + result[row, second]) / 2
                result[row, [first, second]] = middle - 1e-4, middle + 1e-4
        return (result,)


def test_actions_that_differ_refuse_reduced_precision_within_its_error() -> None:
    found = reduced(Flipping("softmax", WEIGHTS), Limits(relative_l2=0.05, agreement=1.0))
    assert all(check.passed for check in found.outputs)
    assert not found.passed
    assert "actions differ" in str(found.reason)
    assert found.agreement is not None
    assert found.agreement < 1.0


@pytest.mark.parametrize("head", ["argmax", "binary"])
def test_decisions_that_differ_refuse_reduced_precision(head: Head) -> None:
    found = reduced(NumpyExecutor(head, WEIGHTS.rounded(3)), Limits(relative_l2=0.05, agreement=1.0))
    assert not found.passed
    assert "actions differ" in str(found.reason)
    assert found.agreement is not None
    assert found.agreement < 1.0
    assert found.agreement_samples > 16


def test_a_decision_that_is_always_a_toss_up_shows_nothing_about_reduced_precision() -> None:
    tight = Weights(
        (*WEIGHTS.layers[:-1], (WEIGHTS.layers[-1][0] * np.float32(1e-4), np.full(4, 1.0, np.float32)))
    )
    original = NumpyExecutor("argmax", tight)
    known = Oracle.prepare(
        NumpyReference("argmax", tight), original, cases(original.signature), original.contract
    )
    found = verify(original, known, precision="int8_dynamic", limits=LIMITS)
    assert not found.passed
    assert "too few" in str(found.reason)


def test_bits_of_whole_number_inputs_have_no_probes_and_say_why() -> None:
    class Table(Executor):
        def __init__(self, wrong: int = -1) -> None:
            action = TensorSpec("action", (), "int64", role="action")
            super().__init__(
                Signature((TensorSpec("state", (), "int64", 0, 15),), (action,)), Contract("argmax")
            )
            self.scores = np.random.default_rng(0).normal(size=(16, 4))
            if wrong >= 0:
                self.scores[wrong] *= -1

        def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            return (self.scores[inputs[0]].argmax(axis=-1),)

    class Exact:
        precision = "float64"
        reason = None
        resolution = float(np.finfo(np.float32).eps)

        def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            return Table().run(inputs)

        def scores(self, inputs: Sequence[Array]) -> Array:
            return np.asarray(Table().scores[inputs[0]])

    known = Oracle.prepare(Exact(), Table(), cases(Table().signature), Table().contract)
    found = verify(Table(), known, precision="float32", limits=LIMITS)
    assert found.passed
    assert found.boundary_probes == 0
    assert any("whole numbers" in line for line in found.skipped)
    assert not verify(Table(wrong=3), known, precision="float32", limits=LIMITS).passed


@every_head
def test_the_users_samples_are_what_is_compared(head: Head) -> None:
    samples = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32)
    original = NumpyExecutor(head, WEIGHTS)
    inputs = cases(original.signature, samples=(samples,))
    known = Oracle.prepare(NumpyReference(head, WEIGHTS), original, inputs, original.contract)
    assert verify(original, known, precision="float32", limits=LIMITS).passed
    wrong = NumpyExecutor(head, WEIGHTS.perturbed(1e-3))
    assert not verify(wrong, known, precision="float32", limits=LIMITS).passed


def test_a_verdict_is_plain_json() -> None:
    for found in (verdict(NumpyExecutor("argmax", WEIGHTS)), verdict(FirstRow("values", WEIGHTS))):
        data = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert data["passed"] == found.passed
        assert data["cases"] == found.cases


def prepare(original: Executor, reference: NumpyReference) -> Oracle:
    return Oracle.prepare(reference, original, cases(original.signature), original.contract)


def test_a_reference_that_is_another_agent_is_not_a_reference() -> None:
    other = Weights.seeded(seed=9)
    with pytest.raises(VerificationError, match="the reference is not this agent"):
        prepare(NumpyExecutor("values", WEIGHTS), NumpyReference("values", other))
    with pytest.raises(VerificationError, match="the reference is not this agent"):
        prepare(NumpyExecutor("argmax", WEIGHTS), NumpyReference("argmax", other))
    with pytest.raises(VerificationError, match="they are not the same agent"):
        prepare(NumpyExecutor("values", WEIGHTS), NumpyReference("values", Weights.seeded(outputs=3)))


def test_an_original_that_fails_or_drifts_cannot_be_compared_with() -> None:
    reference = NumpyReference("values", WEIGHTS)
    with pytest.raises(VerificationError, match=r"cannot be compared with: draw 1.*recorded samples"):
        prepare(Raising("values", WEIGHTS), reference)
    with pytest.raises(VerificationError, match="the same call twice"):
        prepare(Drifting("values", WEIGHTS), reference)


class Choosy(NumpyExecutor):
    """Refuses NaN."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if np.isnan(inputs[0]).any():
            raise ValueError("NaN in the observation")
        return super().run(inputs)


def test_what_the_original_refuses_is_left_out_and_named() -> None:
    original = Choosy("values", WEIGHTS)
    known = prepare(original, NumpyReference("values", WEIGHTS))
    found = verify(original, known, precision="float32", limits=LIMITS)
    assert found.passed
    assert sum("the original fails there: NaN" in line for line in found.skipped) == 2
    assert not any(case.name.startswith("NaN") for case in known.cases)


def test_without_drawn_cases_there_is_nothing_to_compare() -> None:
    original = NumpyExecutor("values", WEIGHTS)
    only = Case("zeros", (np.zeros((2, 6), np.float32),), "edge")
    with pytest.raises(VerificationError, match="no drawn case"):
        Oracle.prepare(NumpyReference("values", WEIGHTS), original, (only,), original.contract)
