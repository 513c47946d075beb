"""Does the candidate act like the original? Only samples that are not a toss-up are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.reason import Reason, ReasonCode
from grandopt.signature import Array, Contract, TensorSpec
from grandopt.verification.calls import Outputs
from grandopt.verification.known import Known

FEWEST = 16
"""A rate over fewer samples is not evidence for a candidate of reduced precision."""

UNDECLARED = 0.995
"""The rate at which arg max must agree, on every row, where nobody said what an output is for."""

UNKNOWN_INPUTS = 0.9967
"""The same, for every output that may be decided by arg max, where nothing is known of the inputs: a third of
what is allowed is kept for inputs that no draw looks like."""

FLOAT32_ACTION = 1e-4
"""The fraction of the action range that a clipped float32 action may be off by."""


@dataclass(frozen=True)
class Agreement:
    """Of `samples` rows that are clear enough to count, out of `asked`, `same` lead to the same action.

    `required` is the rate that these need where it is another than the profile's; `among` names them.
    """

    output: str
    samples: int
    same: int
    asked: int
    required: float | None = None
    among: str | None = None

    @property
    def rate(self) -> float | None:
        """The fraction of the samples that agree; None without samples."""
        return self.same / self.samples if self.samples else None

    def refusal(self, required: float, *, evidence: bool) -> Reason | None:
        """Why this is not enough, or None.

        With `evidence`, too few samples are a reason of their own, because nothing else bounds the loss.
        """
        required = self.required if self.required is not None else required
        where = "" if self.among is None else f" on the draws {self.among!r}"
        if evidence and self.samples < min(FEWEST, self.asked):
            return Reason(
                ReasonCode.TOO_FEW_SAMPLES,
                f"output {self.output!r}: only {self.samples} of {self.asked} samples have a margin beyond "
                f"the error, too few to show that the actions agree",
            )
        if self.rate is not None and self.rate < required:
            return Reason(
                ReasonCode.ACTS_DIFFERENTLY,
                f"output {self.output!r}: {self.samples - self.same} of {self.samples} actions differ{where} "
                f"(agreement {self.rate:.4f}, required {required:g})",
            )
        return None


def of_scores(spec: TensorSpec, values: Array, truth: Array, error: float) -> Agreement:
    """Arg max over the last axis, where the two largest true scores are more than `error` apart."""
    wide = truth.shape[-1] > 1
    top = np.partition(truth, -2, axis=-1) if wide else truth
    margins = top[..., -1] - top[..., -2] if wide else np.zeros(truth.shape[:-1])
    clear = margins > error
    same = values.argmax(axis=-1) == truth.argmax(axis=-1)
    return Agreement(spec.name, int(clear.sum()), int((same & clear).sum()), int(clear.size))


def of_highest(spec: TensorSpec, values: Array, truth: Array, required: float) -> Agreement:
    """Arg max over the last axis on every row, clear or not, which has to agree at a rate of its own."""
    same = values.argmax(axis=-1) == truth.argmax(axis=-1)
    return Agreement(spec.name, int(same.size), int(same.sum()), int(same.size), required)


def of_actions(
    spec: TensorSpec, contract: Contract, values: Array, truth: Array, allowed: float
) -> Agreement:
    """Continuous actions [N, *shape], clipped to the contract's bounds, within `allowed` of their range.

    Where an element has no bounds, its range is twice its largest true size.
    """
    low = _bound(contract.low, -np.inf, truth)
    high = _bound(contract.high, np.inf, truth)
    span = np.where(np.isfinite(high - low), high - low, 2 * np.abs(truth).max(axis=0, initial=0.0))
    off = np.abs(np.clip(values, low, high) - np.clip(truth, low, high))
    same = (off <= allowed * span).reshape(len(truth), -1).all(axis=1)
    return Agreement(spec.name, len(truth), int(same.sum()), len(truth))


def of_decisions(
    spec: TensorSpec, output: int, known: Sequence[Known], results: Sequence[Outputs], error: float
) -> Agreement:
    """Decisions, where the relative margin of the true scores is beyond `error`."""
    samples = same = asked = 0
    for item, result in zip(known, results, strict=True):
        clear = item.margins > error
        agrees = ~item.differs(output, result[output])
        samples += int(clear.sum())
        same += int((clear & agrees).sum())
        asked += item.case.batch
    return Agreement(spec.name, samples, same, asked)


def _bound(bound: tuple[float, ...] | None, default: float, truth: Array) -> Array:
    if bound is None:
        return np.full(truth.shape[1:], default)
    flat = np.asarray(bound, dtype=np.float64)
    return np.broadcast_to(flat.reshape(truth.shape[1:]) if flat.size > 1 else flat, truth.shape[1:])
