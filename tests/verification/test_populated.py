"""Reduced precision is admitted on what is known of the inputs, and held to the limits on the worst kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandopt.config.schema import Limits
from grandopt.signature import Array, Moments
from grandopt.verification.exercise import Exercise
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify
from tests.verification.scaled_networks import ACTIONS, FEATURES, Build, Float64, Network, known

LIMITS = Limits(relative_l2=0.02, agreement=0.995)


def plain() -> Network:
    """A network that was made for standard normal features."""
    network = Network.seeded(3)
    rng = np.random.default_rng(3)
    weight = (rng.normal(size=network.layers[0][0].shape) / np.sqrt(FEATURES)).astype(np.float32)
    bias = (rng.normal(size=network.layers[0][1].shape) * 0.1).astype(np.float32)
    return Network(
        ((weight, bias), *network.layers[1:]), np.ones(FEATURES), np.zeros(FEATURES), np.zeros(FEATURES, bool)
    )


def one_large() -> Network:
    """The same with a feature that lives around 1000."""
    network = plain()
    weight = network.layers[0][0].copy()
    weight[0] *= np.float32(1e-3)
    scale, offset = network.scale.copy(), network.offset.copy()
    scale[0], offset[0] = 50.0, 1000.0
    return Network(((weight, network.layers[0][1]), *network.layers[1:]), scale, offset, network.stuck)


def judged(build: Build, samples: Array | None = None, **what: object) -> Verification:
    precision = "bfloat16" if build.kind == "bfloat16" else "int8_dynamic"
    return verify(build, known(build.network, samples, **what), precision=precision, limits=LIMITS)  # type: ignore[arg-type]


def wrong(build: Build, inputs: Array) -> float:
    """The share of inputs on which the arg max is another."""
    (truth,) = Float64(build.network).outputs((inputs,))
    return float((build.run((inputs,))[0].argmax(axis=1) != truth.argmax(axis=1)).mean())


def test_int8_that_is_right_on_normal_draws_and_wrong_on_its_own_inputs_is_refused() -> None:
    network = one_large()
    build = Build(network, "int8", first=True)
    normal = np.random.default_rng(5).standard_normal((1000, FEATURES)).astype(np.float32)
    assert wrong(build, normal) < 0.02
    assert wrong(build, network.seen(1000, 5)) > 0.05
    found = judged(build)
    assert not found.passed
    assert found.evidence == "none"
    assert found.populations == 12
    # And with what it lives on, for what it does to that.
    recorded = judged(build, network.seen(400, 6))
    assert not recorded.passed
    assert recorded.evidence == "recorded"
    assert recorded.populations == 0


def test_the_same_with_its_first_layer_in_float32_is_held_to_the_limits_and_no_more() -> None:
    found = judged(Build(one_large(), "bfloat16"))
    assert found.passed, found.reason


BUILDS = pytest.mark.parametrize(
    ("kind", "first"), [("bfloat16", False), ("int8", False), ("int8", True)], ids=["bfloat16", "int8", "all"]
)
"""Without evidence the layers that read raw observations stay in float32; int8 in all of them is here to be
refused."""


def never_wrong(kind: str, networks: range, *, first: bool) -> int:
    """How many builds of networks of all scales are verified; none of them is wrong on what it lives on."""
    verified = 0
    for seed in networks:
        network = Network.seeded(seed)
        build = Build(network, kind, first=first)
        if judged(build).passed:
            verified += 1
            assert wrong(build, network.seen(6000, 1000 + seed)) <= 0.005, seed
    return verified


@BUILDS
def test_what_is_verified_without_evidence_is_right_on_what_nobody_showed(kind: str, *, first: bool) -> None:
    verified = never_wrong(kind, range(4), first=first)
    if kind == "bfloat16":
        assert verified, "this says something only where something is verified"


@pytest.mark.stress
@BUILDS
def test_the_same_of_many_networks(kind: str, *, first: bool) -> None:
    never_wrong(kind, range(4, 40), first=first)


def test_float32_keeps_its_rule_whatever_the_scales() -> None:
    for seed in range(4):
        network = Network.seeded(seed)
        found = verify(Build(network), known(network), precision="float32", limits=LIMITS)
        assert found.passed, found.reason
        assert found.populations == 0


def test_statistics_say_what_is_drawn() -> None:
    network = one_large()
    moments = {"obs": Moments(tuple(map(float, network.offset)), tuple(map(float, network.scale)), 10.0)}
    oracle = known(network, moments=moments)
    assert oracle.evidence.kind == "statistics"
    drawn = np.concatenate([case.inputs[0] for case in oracle.cases if case.kind == "drawn"])
    assert drawn[:, 0].mean() == pytest.approx(1000, rel=0.02)
    assert not judged(Build(network, "int8", first=True), moments=moments).passed


def test_bounds_are_evidence_and_what_is_drawn_lies_within() -> None:
    oracle = known(plain(), low=-3.0)
    assert oracle.evidence.kind == "bounds"
    assert oracle.wide is not None
    for item in oracle.wide.known:
        assert np.abs(item.case.inputs[0]).max() <= 3.0
    assert judged(Build(plain(), "bfloat16"), low=-3.0).passed


def test_an_arg_max_that_nobody_declared_counts_on_every_recorded_row() -> None:
    network = plain()
    samples = network.seen(1000, 8)

    class Tilted(Build):
        """Off by little, but for one action in a hundred."""

        def run(self, inputs):  # type: ignore[no-untyped-def]
            (result,) = super().run(inputs)
            result = result.copy()
            close = np.sort(result, axis=1)
            near = close[:, -1] - close[:, -2] < 0.02
            rows = np.flatnonzero(near)
            best, second = result[rows].argsort(axis=1)[:, -1], result[rows].argsort(axis=1)[:, -2]
            result[rows, best], result[rows, second] = result[rows, second], result[rows, best]
            return (result,)

    build = Tilted(network, "float32")
    assert 0.005 < wrong(build, samples) < 0.2
    found = judged(build, samples)
    assert not found.passed
    assert found.reason is not None
    assert "actions differ" in found.reason.text


@pytest.mark.parametrize(
    ("exercise", "words"),
    [
        (Exercise(96, 96, ACTIONS, 0), "the outputs are the same on everything that was drawn"),
        (Exercise(96, 40, ACTIONS, ACTIONS), "only 40 of 96 units change"),
    ],
)
def test_a_network_that_nothing_sets_in_motion_is_not_reduced(exercise: Exercise, words: str) -> None:
    network = plain()
    oracle = replace(known(network, rows=64), exercise=exercise)
    build = Build(network, "bfloat16")
    found = verify(build, oracle, precision="bfloat16", limits=LIMITS)
    assert not found.passed
    assert words in str(found.reason)
    assert "--samples" in str(found.reason)
    assert verify(Build(network), oracle, precision="float32", limits=LIMITS).passed


def test_silent_units_matter_less_where_the_inputs_were_recorded() -> None:
    assert Exercise(96, 10, 4, 4, recorded=True).refusal is None
    assert Exercise(96, 10, 4, 0, recorded=True).refusal is not None
    assert Exercise(0, 0, 4, 4).refusal is None
    assert Exercise(96, 96, 4, 4, ordinary_units=10, ordinary_outputs=4).low
