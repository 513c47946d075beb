"""How often drift is found where there is none: `python -m tests.runtime.monitoring.false_alarms [WINDOWS]`.

Windows of rows of one distribution, whose neighbours resemble each other more and more, against the
statistics of a checkpoint and against recorded samples of the same kind. And how often a shift of one
standard deviation of one element of 32 is missed. A program, not a test: it prints shares.
"""

from __future__ import annotations

import sys

import numpy as np

from grandopt.runtime.monitoring.drift import InputDrift
from grandopt.runtime.monitoring.reference import Reference
from grandopt.signature import Array, Contract, Moments, Signature, TensorSpec

FEATURES = 32
ROWS = 4096
SIGNATURE = Signature((TensorSpec("state", (FEATURES,)),))
MOMENTS = {"state": Moments((0.0,) * FEATURES, (1.0,) * FEATURES)}


def _rows(rng: np.random.Generator, count: int, alike: float) -> Array:
    noise = rng.standard_normal((count, FEATURES))
    if alike:
        for row in range(1, count):
            noise[row] = alike * noise[row - 1] + np.sqrt(1 - alike**2) * noise[row]
    return noise.astype(np.float32)


def _drifted(reference: Reference, rows: Array) -> bool:
    drift = InputDrift(SIGNATURE, Contract(), reference)
    drift.add((rows,))
    return bool(drift.report().drifted)


def _shares(windows: int, alike: float, sampled: bool) -> tuple[float, float]:
    """The shares of windows without a shift, and with one, in which drift is found."""
    rng = np.random.default_rng(0)
    alarms = found = 0
    for _ in range(windows):
        reference = Reference.of_moments(MOMENTS)
        if sampled:
            reference = Reference.of_samples(SIGNATURE.inputs, [_rows(rng, 2000, alike)])
        rows = _rows(rng, ROWS, alike)
        alarms += _drifted(reference, rows)
        rows[:, 3] += 1.0
        found += _drifted(reference, rows)
    return alarms / windows, found / windows


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for likeness in (0.0, 0.5, 0.9, 0.99):
        for with_samples in (False, True):
            false, true = _shares(count, likeness, with_samples)
            sys.stdout.write(
                f"neighbours correlate {likeness:4.2f}, reference: "
                f"{'samples' if with_samples else 'checkpoint':10s} "
                f"false alarms {false:6.1%}, a shift of one standard deviation found {true:6.1%}\n"
            )
