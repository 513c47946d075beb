"""Drift is found where there is some, and not where there is none, also in rows that resemble each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grandopt.errors import ConfigError, SamplesError
from grandopt.runtime.monitoring.drift import DriftReport, DriftSettings, InputDrift
from grandopt.runtime.monitoring.reference import EVIDENCE, Reference, independent, observed_statistics
from grandopt.signature import Array, Contract, Moments, Signature, StateTensor, TensorSpec

FEATURES = 24
SIGNATURE = Signature((TensorSpec("state", (FEATURES,)),), (TensorSpec("scores", (3,), role="scores"),))
MOMENTS = {"state": Moments(tuple(range(FEATURES)), tuple(1.0 + np.arange(FEATURES) / 4))}


def rows(rng: np.random.Generator, count: int, alike: float = 0.0) -> Array:
    """Rows of the distribution of MOMENTS; each resembles the one before with that correlation."""
    noise = rng.standard_normal((count, FEATURES))
    for row in range(1, count) if alike else ():
        noise[row] = alike * noise[row - 1] + math.sqrt(1 - alike**2) * noise[row]
    mean, std = MOMENTS["state"].arrays((FEATURES,))
    return (mean + std * noise).astype(np.float32)


def seen(reference: Reference | None, given: Array, taps: int = 500) -> DriftReport:
    drift = InputDrift(SIGNATURE, Contract(), reference)
    for start in range(0, len(given), taps):
        drift.add((given[start : start + taps],))
    return drift.report()


def references(rng: np.random.Generator) -> tuple[Reference, Reference]:
    return Reference.of_moments(MOMENTS), Reference.of_samples(SIGNATURE.inputs, [rows(rng, 1000)])


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_same_distribution_does_not_drift(alike: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        for reference in references(rng):
            report = seen(reference, rows(rng, 3000, alike))
            assert report.drifted is False
            assert report.drifted_features == 0


@pytest.mark.parametrize("change", ["shift", "wide", "narrow", "constant"])
def test_what_has_changed_is_named(change: str) -> None:
    rng = np.random.default_rng(2)
    for reference in references(rng):
        given = rows(rng, 3000, 0.5)
        mean, std = (part[5] for part in MOMENTS["state"].arrays((FEATURES,)))
        given[:, 5] = {
            "shift": given[:, 5] + std,
            "wide": mean + 3 * (given[:, 5] - mean),
            "narrow": mean + 0.2 * (given[:, 5] - mean),
            "constant": np.full(len(given), mean),
        }[change]
        report = seen(reference, given)
        assert report.drifted is True
        assert report.drifted_features == 1
        assert (report.features[0].input, report.features[0].element) == ("state", 5)
        if change == "shift":
            assert report.features[0].shift == pytest.approx(1.0, abs=0.15)
            assert report.largest_shift == abs(report.features[0].shift)
        if change == "wide":
            assert report.features[0].spread == pytest.approx(3.0, rel=0.2)


def test_another_shape_of_the_same_mean_and_spread_is_found_by_samples() -> None:
    rng = np.random.default_rng(3)
    given = rows(rng, 4000)
    mean, std = (part[2] for part in MOMENTS["state"].arrays((FEATURES,)))
    given[:, 2] = mean + std * rng.choice([-1.0, 1.0], len(given))
    moments, samples = references(rng)
    assert seen(moments, given).drifted is False
    report = seen(samples, given)
    assert report.drifted is True
    assert report.features[0].element == 2
    assert report.features[0].psi is not None
    assert report.features[0].psi > 0.25


def test_a_small_but_certain_shift_is_no_drift() -> None:
    rng = np.random.default_rng(4)
    _, std = MOMENTS["state"].arrays((FEATURES,))
    report = seen(Reference.of_moments(MOMENTS), (rows(rng, 4000) + 0.2 * std).astype(np.float32))
    assert report.drifted is False
    assert abs(report.features[0].shift_z) > report.critical_z


def test_the_window_forgets_what_was_before() -> None:
    rng = np.random.default_rng(5)
    drift = InputDrift(SIGNATURE, Contract(), Reference.of_moments(MOMENTS))
    for offset in (50.0, 0.0):
        for _ in range(200):
            drift.add((rows(rng, 40) + np.float32(offset),))
        assert drift.report().drifted is (offset != 0)


def test_rows_that_are_not_finite_are_counted_and_left_out() -> None:
    given = rows(np.random.default_rng(6), 2000)
    given[10, 3], given[20, 4] = np.nan, np.inf
    report = seen(Reference.of_moments(MOMENTS), given)
    assert (report.seen, report.nonfinite, report.drifted) == (2000, 2, False)
    assert all(math.isfinite(feature.shift) for feature in report.features)


def test_without_a_reference_or_rows_it_says_why() -> None:
    given = rows(np.random.default_rng(7), 100)
    nothing = seen(None, given)
    assert (nothing.drifted, nothing.origin) == (None, None)
    assert nothing.reason is not None
    assert "give samples" in nothing.reason
    few = seen(Reference.of_moments(MOMENTS), given)
    assert few.drifted is None
    assert few.reason == "needs 1024 rows in 8 blocks, has 0"


def test_state_is_not_an_observation() -> None:
    signature = Signature(
        (TensorSpec("obs", (2,)), TensorSpec("h", (4,))),
        (TensorSpec("action", (1,)), TensorSpec("h_out", (4,))),
    )
    contract = Contract(state=(StateTensor("h", "h_out"),))
    samples = [np.random.default_rng(8).standard_normal((100, 2))]
    reference = observed_statistics(signature, contract, {}, samples)
    assert reference is not None
    assert set(reference.inputs) == {"obs"}
    drift = InputDrift(signature, contract, reference)
    drift.add((np.zeros((1, 2), np.float32), np.full((1, 4), np.nan, np.float32)))
    assert drift.report().nonfinite == 0


def test_recorded_rows_that_resemble_each_other_count_for_fewer() -> None:
    rng = np.random.default_rng(9)
    assert independent(rows(rng, 2000)) > 1000
    assert 40 < independent(rows(rng, 2000, alike=0.9)) < 300  # the law says 105
    assert independent(np.ones((500, 3))) == 500
    assert independent(rows(rng, 50, alike=0.9)) == 50


def test_a_reference_survives_the_evidence_of_a_manifest() -> None:
    reference = Reference.of_moments(MOMENTS)
    read = Reference.of_evidence({EVIDENCE: reference.to_json()}, SIGNATURE)
    assert read is not None
    assert read.origin == "checkpoint"
    np.testing.assert_allclose(read.inputs["state"].std, reference.inputs["state"].std, rtol=1e-6)
    assert observed_statistics(SIGNATURE, Contract(), {}, None) is None
    for broken in ({}, {EVIDENCE: None}, {EVIDENCE: {"origin": "samples", "inputs": {"state": {"mean": 1}}}}):
        assert Reference.of_evidence(broken, SIGNATURE) is None
    other = Signature((TensorSpec("state", (3,)),))
    assert Reference.of_evidence({EVIDENCE: reference.to_json()}, other) is None


def test_samples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SamplesError, match=r"samples must be at least two of shape \[24\], got \[5, 3\]"):
        Reference.of_samples(SIGNATURE.inputs, [np.zeros((5, 3))])
    with pytest.raises(SamplesError, match="there are 2 arrays for 1 inputs"):
        Reference.of_samples(SIGNATURE.inputs, [np.zeros((5, 24))] * 2)
    with pytest.raises(SamplesError, match="fewer than two of the samples are finite"):
        Reference.of_samples(SIGNATURE.inputs, [np.full((5, 24), np.nan)])


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        DriftSettings(alpha=0.0)


@pytest.mark.parametrize("count", [2, 3, 5, 7, 10, 30])
def test_few_recorded_rows_prove_little(count: int) -> None:
    """Chance gives some of their elements a tiny spread, and a mean that is off."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        reference = Reference.of_samples(SIGNATURE.inputs, [rows(rng, count)])
        assert seen(reference, rows(rng, 3000)).drifted is False


@pytest.mark.parametrize("value", [0.0, 1.0, -3e6, 1e-40])
def test_an_element_that_always_was_constant_has_not_become_narrow(value: float) -> None:
    rng = np.random.default_rng(4)
    recorded, given = rows(rng, 1000), rows(rng, 3000)
    recorded[:, 5] = given[:, 5] = value
    exact = recorded.astype(np.float64)
    moments = {"state": Moments(tuple(exact.mean(axis=0).tolist()), tuple(exact.std(axis=0).tolist()))}
    for reference in (Reference.of_moments(moments), Reference.of_samples(SIGNATURE.inputs, [recorded])):
        assert seen(reference, given).drifted is False
        given[:, 5] = value + max(1.0, abs(value))
        (found,) = [feature for feature in seen(reference, given).features if feature.drifted]
        assert found.element == 5
        given[:, 5] = value
