"""Networks that were made for features of their own scales, and builds of them at reduced precision."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Moments, Signature, TensorSpec
from grandopt.verification.evidence import Evidence, evidence_of
from grandopt.verification.influence import influence
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.populated import with_populations
from grandopt.verification.populations import populations

FEATURES, HIDDEN, ACTIONS = 12, 48, 4


@dataclass(frozen=True)
class Network:
    """An MLP whose first layer takes each feature at its own scale; `seen` gives what it was made for."""

    layers: tuple[tuple[Array, Array], ...]
    scale: Array
    offset: Array
    stuck: Array

    @classmethod
    def seeded(cls, seed: int) -> Network:
        rng = np.random.default_rng(seed)
        plain = rng.random(FEATURES) < 0.6
        scale = np.where(plain, 1.0, 10.0 ** rng.uniform(-3, 4, FEATURES))
        offset = np.where(rng.random(FEATURES) < 0.2, rng.uniform(-20, 20, FEATURES), 0.0) * scale
        stuck = (rng.random(FEATURES) < 0.1) & ~plain
        sizes = (FEATURES, HIDDEN, HIDDEN, ACTIONS)
        layers = []
        for rows, columns in itertools.pairwise(sizes):
            weight = rng.normal(size=(rows, columns)) / np.sqrt(rows)
            layers.append((weight, rng.normal(size=columns) * 0.1))
        weight, bias = layers[0]
        weight = weight / scale[:, np.newaxis]
        layers[0] = weight, bias - offset @ weight
        return cls(
            tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers), scale, offset, stuck
        )

    def seen(self, rows: int, seed: int) -> Array:
        """What the network was made for: [rows, features]."""
        normal = np.random.default_rng(seed).standard_normal((rows, FEATURES))
        normal = np.where(self.stuck, 3.0, normal)
        return (self.offset + self.scale * normal).astype(np.float32)


def signature(low: float | None = None) -> Signature:
    bound = None if low is None else -low
    return Signature((TensorSpec("obs", (FEATURES,), low=low, high=bound),), (TensorSpec("q", (ACTIONS,)),))


class Float64:
    """The network as exactly as it can be."""

    precision, reason = "float64", None
    resolution = float(np.finfo(np.float32).eps)

    def __init__(self, network: Network) -> None:
        self._network = network

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        x = inputs[0].astype(np.float64)
        with np.errstate(all="ignore"):
            for number, (weight, bias) in enumerate(self._network.layers):
                x = x @ weight.astype(np.float64) + bias
                x = np.maximum(x, 0) if number < 2 else x
        return (x,)

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        return None


class Build(Executor):
    """The network in float32, or with layers in bfloat16 or in int8 whose rows are scaled at each call."""

    def __init__(self, network: Network, kind: str = "float32", *, first: bool = False) -> None:
        super().__init__(signature(), Contract())
        self.network, self.kind, self.first = network, kind, first

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        x = inputs[0]
        with np.errstate(all="ignore"):
            for number, (weight, bias) in enumerate(self.network.layers):
                kind = "float32" if number == 0 and not self.first else self.kind
                x = product(x, weight, kind) + bias
                x = np.maximum(x, np.float32(0)) if number < 2 else x
        return (x,)


def product(x: Array, weight: Array, kind: str) -> Array:
    if kind == "bfloat16":
        weight = shortened(weight)
    elif kind == "int8":
        weight, x = stepped(weight, 0), stepped(x, 1)
    return np.asarray(x @ weight)


def shortened(values: Array) -> Array:
    """Float32 with the 8 bits of bfloat16, rounded."""
    bits = values.view(np.uint32)
    return ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)


def stepped(values: Array, axis: int) -> Array:
    """On 255 steps along the axis."""
    step = np.abs(values).max(axis=axis, keepdims=True) / np.float32(127)
    step = np.where(step > 0, step, np.float32(1))
    return np.asarray(np.rint(values / step) * step, dtype=np.float32)


def known(
    network: Network,
    samples: Array | None = None,
    *,
    moments: dict[str, Moments] | None = None,
    low: float | None = None,
    rows: int = 1024,
) -> Oracle:
    """The oracle of a network, as a job asks it."""
    original, reference, declared = Build(network), Float64(network), signature(low)
    evidence: Evidence = evidence_of(
        declared.inputs, recorded=None if samples is None else len(samples), moments=moments
    )
    given = None if samples is None else (samples,)
    oracle = Oracle.prepare(
        reference,
        original,
        cases(declared, samples=given, moments=evidence.moments),
        Contract(),
        evidence=evidence,
        declared=False,
    )
    if evidence.kind == "recorded":
        return oracle
    strength = None if evidence.there else influence(declared, reference)
    kinds = populations(declared, evidence, rows=rows, influence=strength)
    return with_populations(oracle, reference, original, kinds)
