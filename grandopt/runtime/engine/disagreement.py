"""Which rows two answers of an agent would act on differently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.signature import Array, Contract, Signature, TensorSpec

TOLERANCE = 0.01
"""The fraction of its range that a continuous action may be off by."""


class Disagreement:
    """Compares answers row by row, by what the agent's outputs are for. Not thread-safe.

    An output differs in a row: the action of an arg max or of bits, and whole numbers, where they are not
    equal; scores, where their arg max over the last axis is another; a continuous action, clipped to its
    bounds, where an element is off by more than `tolerance` of its range (without bounds, of twice its
    largest size so far). Plain values are looked at where an agent has none of these, by arg max where they
    have several elements. A number against NaN or infinity differs always. `squares` sums, per output of
    floats, the squares of errors and of the live answers.
    """

    def __init__(self, signature: Signature, contract: Contract, tolerance: float = TOLERANCE) -> None:
        self._contract, self._tolerance = contract, tolerance
        self._outputs = signature.outputs
        kinds = [_kind(spec, contract) for spec in signature.outputs]
        state = {tensor.output for tensor in contract.state}
        if all(kind is None for kind in kinds):
            kinds = [_plain(spec) if spec.name not in state else None for spec in signature.outputs]
        self._kinds = kinds
        self._largest: dict[int, Array] = {}
        self.squares: dict[str, tuple[float, float]] = {}

    def rows(self, live: Sequence[Array], other: Sequence[Array]) -> Array:
        """Whether each row [n] differs in any output; the arrays are [n, *shape], in the outputs' order."""
        differs = np.zeros(len(live[0]), dtype=bool)
        for place, (spec, kind) in enumerate(zip(self._outputs, self._kinds, strict=True)):
            ours, theirs = live[place], other[place]
            if spec.dtype.startswith("float"):
                differs |= self._add(spec.name, ours, theirs) & (kind is not None)
            if kind is not None:
                differs |= _any(self._elements(place, kind, ours, theirs))
        return differs

    def _elements(self, place: int, kind: str, ours: Array, theirs: Array) -> Array:
        match kind:
            case "equal":
                return (ours != theirs) & ~((ours != ours) & (theirs != theirs))  # type: ignore[no-any-return]
            case "highest":
                return ours.argmax(axis=-1) != theirs.argmax(axis=-1)  # type: ignore[no-any-return]
            case _:
                return self._off(place, ours, theirs)

    def _off(self, place: int, ours: Array, theirs: Array) -> Array:
        ours, theirs = (
            np.where(np.isfinite(array), array, 0.0).astype(np.float64) for array in (ours, theirs)
        )
        low, high = (
            _bound(bound, default, ours.shape[1:])
            for bound, default in ((self._contract.low, -np.inf), (self._contract.high, np.inf))
        )
        largest = np.maximum(self._largest.get(place, np.zeros(ours.shape[1:])), np.abs(ours).max(axis=0))
        self._largest[place] = largest
        span = np.where(np.isfinite(high - low), high - low, 2 * largest)
        return np.abs(np.clip(ours, low, high) - np.clip(theirs, low, high)) > self._tolerance * span

    def _add(self, name: str, ours: Array, theirs: Array) -> Array:
        """Count errors of what is finite; the rows in which NaN or infinity is in one answer alone."""
        finite, also = np.isfinite(ours), np.isfinite(theirs)
        both = finite & also
        truth = np.where(both, ours, 0.0).astype(np.float64)
        error = np.where(both, theirs, 0.0).astype(np.float64) - truth
        errors, sizes = self.squares.get(name, (0.0, 0.0))
        self.squares[name] = errors + float(np.vdot(error, error)), sizes + float(np.vdot(truth, truth))
        return _any((finite != also) | (~both & (ours != theirs) & ((ours == ours) | (theirs == theirs))))


def _kind(spec: TensorSpec, contract: Contract) -> str | None:
    if spec.name in {tensor.output for tensor in contract.state}:
        return None
    if not spec.dtype.startswith("float") or (
        spec.role == "action" and contract.action in ("argmax", "binary")
    ):
        return "equal"
    if spec.role == "scores":
        return "highest" if _several(spec) else None
    return "close" if spec.role == "action" else None


def _plain(spec: TensorSpec) -> str:
    return "highest" if _several(spec) else "close"


def _several(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[-1] > 1


def _any(elements: Array) -> Array:
    return np.asarray(elements.reshape(len(elements), -1).any(axis=1))


def _bound(bound: tuple[float, ...] | None, default: float, shape: tuple[int, ...]) -> Array:
    flat = np.asarray(default if bound is None else bound, dtype=np.float64)
    return np.broadcast_to(flat.reshape(shape) if flat.size > 1 else flat.reshape(()), shape)
