"""Probes beside decision boundaries."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.signature import Contract, Signature, TensorSpec
from grandopt.verification.boundary import FURTHEST, NEAREST, find
from grandopt.verification.known import decisions, relative_margins
from tests.fakes_verification import Head, NumpyReference, Weights, agent

WEIGHTS = Weights.seeded()
SAMPLES = (np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32),)


@pytest.mark.parametrize("head", ["argmax", "binary"])
def test_probes_are_inputs_of_the_agent_close_to_a_boundary_on_both_sides(head: Head) -> None:
    signature, contract = agent(head)
    reference = NumpyReference(head, WEIGHTS)
    probes = find(signature, contract, reference, SAMPLES, scale=1.0)
    assert len(probes) > 200
    assert probes.reason is None
    assert probes.inputs[0].dtype == np.float32
    scores = reference.scores(probes.inputs)
    assert scores is not None
    # Not bit for bit: on some CPUs the sums of a product depend on how many rows it has.
    np.testing.assert_allclose(relative_margins(contract, scores, 1.0), probes.margins, rtol=0, atol=1e-14)
    assert (probes.margins >= NEAREST).all()
    assert (probes.margins <= FURTHEST).all()
    assert (probes.margins < 1e-5).sum() > 20
    taken = decisions(contract, scores)
    assert len(np.unique(taken, axis=0)) > 1


def test_the_same_seed_finds_the_same_probes() -> None:
    signature, contract = agent("argmax")
    reference = NumpyReference("argmax", WEIGHTS)
    one, two, other = (
        find(signature, contract, reference, SAMPLES, scale=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.inputs[0], two.inputs[0])
    assert not np.array_equal(one.inputs[0], other.inputs[0])


def test_probes_stay_between_the_samples() -> None:
    signature, contract = agent("argmax")
    probes = find(signature, contract, NumpyReference("argmax", WEIGHTS), SAMPLES, scale=1.0)
    assert (probes.inputs[0] >= SAMPLES[0].min(axis=0)).all()
    assert (probes.inputs[0] <= SAMPLES[0].max(axis=0)).all()


def test_one_decision_everywhere_gives_no_probes_and_a_reason() -> None:
    signature, contract = agent("argmax")
    weight, bias = WEIGHTS.layers[-1]
    certain = Weights(
        (*WEIGHTS.layers[:-1], (weight, bias + np.float32(100) * np.eye(4, dtype=np.float32)[2]))
    )
    probes = find(signature, contract, NumpyReference("argmax", certain), SAMPLES, scale=1.0)
    assert len(probes) == 0
    assert "same decision" in str(probes.reason)


def test_whole_numbers_give_no_probes_and_a_reason() -> None:
    signature = Signature((TensorSpec("image", (6,), "uint8"),))
    samples = (np.zeros((4, 6), np.uint8),)
    probes = find(signature, Contract("argmax"), NumpyReference("argmax", WEIGHTS), samples, scale=1.0)
    assert len(probes) == 0
    assert "whole numbers" in str(probes.reason)
