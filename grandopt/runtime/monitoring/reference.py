"""What an agent's inputs and decisions were when it was made, to compare what it is given now with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from grandopt.errors import SamplesError
from grandopt.runtime.monitoring.blocks import BLOCKS, RollingBlocks
from grandopt.signature import Array, Contract, Moments, Signature, TensorSpec

Origin = Literal["checkpoint", "samples"]
EVIDENCE = "observations"
"""Where the statistics stand in the evidence of a manifest, which enters no digest."""
FEATURES = 2048
"""Elements of one input that are looked at; of a larger one so many, evenly spaced."""
BINS = 10
LEAST_STD = 1e-6
"""A spread below this share of the mean's size (or of 1) counts as so much: the element was constant."""


@dataclass(frozen=True)
class InputReference:
    """The statistics of one input's elements, flat, in row-major order.

    `rows` is on how many independent observations they rest, None where the checkpoint does not say (they
    count as exact then). `edges` [BINS - 1, elements] are the deciles and `shares` [BINS, elements] what lay
    between them, where the observations themselves were there.
    """

    mean: Array
    std: Array
    rows: int | None = None
    edges: Array | None = None
    shares: Array | None = None


@dataclass(frozen=True)
class Reference:
    """The statistics of an agent's inputs by name, and whose they are."""

    origin: Origin
    inputs: Mapping[str, InputReference] = field(default_factory=dict)

    @classmethod
    def of_moments(cls, moments: Mapping[str, Moments]) -> Reference:
        """Those that the checkpoint itself carries: its normaliser's."""
        return cls(
            "checkpoint",
            {
                name: InputReference(np.array(item.mean, dtype=np.float64), np.array(item.std))
                for name, item in moments.items()
            },
        )

    @classmethod
    def of_samples(cls, specs: Sequence[TensorSpec], samples: Sequence[Array]) -> Reference:
        """Those of recorded observations, one array [n, *shape] for each of `specs`.

        Raises SamplesError for another number of arrays, another shape, and fewer than two observations.
        """
        if len(specs) != len(samples):
            raise SamplesError(f"there are {len(samples)} arrays for {len(specs)} inputs; give one of each")
        return cls("samples", {spec.name: _of(spec, rows) for spec, rows in zip(specs, samples, strict=True)})

    @classmethod
    def of_evidence(cls, evidence: Mapping[str, Any], signature: Signature) -> Reference | None:
        """Those of a manifest's evidence; None where it has none that fit the signature."""
        try:
            data = evidence[EVIDENCE]
            inputs = {name: _read(item) for name, item in data["inputs"].items()}
            origin: Origin = "samples" if data["origin"] == "samples" else "checkpoint"
        except (KeyError, TypeError, ValueError, AttributeError):
            return None  # written by hand or by another version: there is nothing to compare with
        elements = {spec.name: spec.elements for spec in signature.inputs}
        fit = all(item.mean.shape == (elements.get(name),) for name, item in inputs.items())
        return cls(origin, inputs) if fit and inputs else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the evidence of a manifest: means and spreads to seven digits."""
        return {
            "origin": self.origin,
            "inputs": {
                name: {"mean": _digits(item.mean), "std": _digits(item.std), "rows": item.rows}
                for name, item in self.inputs.items()
            },
        }


def observed_statistics(
    signature: Signature,
    contract: Contract,
    moments: Mapping[str, Moments],
    samples: Sequence[Array] | None,
) -> Reference | None:
    """What is known of an agent's observations: of the recorded ones, else by its own normaliser."""
    if samples is not None and len(samples[0]) > 1:
        return Reference.of_samples(signature.observed(contract), samples)
    return Reference.of_moments(moments) if moments else None


def chosen(elements: int) -> Array:
    """The elements of an input that are looked at."""
    if elements <= FEATURES:
        return np.arange(elements)
    return np.linspace(0, elements - 1, FEATURES).astype(np.intp)


def shares_of(rows: Array, edges: Array) -> Array:
    """Which share of `rows` [n, f] lies in each of the bins between `edges` [BINS - 1, f]: [BINS, f]."""
    above = (rows[:, np.newaxis, :] > edges).mean(axis=0)
    whole = np.ones((1, rows.shape[1]))
    return -np.diff(np.concatenate((whole, above, 0 * whole)), axis=0)


def _of(spec: TensorSpec, samples: Array) -> InputReference:
    if samples.shape[1:] != spec.shape or len(samples) < 2:
        raise SamplesError(
            f"{spec.name}: samples must be at least two of shape {list(spec.shape)}, got "
            f"{list(samples.shape)}"
        )
    rows = samples.reshape(len(samples), -1).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 2:
        raise SamplesError(f"{spec.name}: fewer than two of the samples are finite; record others")
    edges = np.quantile(rows, np.arange(1, BINS) / BINS, axis=0)
    shares = np.stack([shares_of(rows[:, [f]], edges[:, [f]])[:, 0] for f in range(rows.shape[1])], axis=1)
    return InputReference(rows.mean(axis=0), rows.std(axis=0, ddof=1), independent(rows), edges, shares)


def independent(rows: Array) -> int:
    """For how many independent observations these count, as they followed one another; the median element's.

    By the means of BLOCKS blocks; with fewer than four rows in each, all count.
    """
    size = len(rows) // BLOCKS
    if size < 4:
        return len(rows)
    blocks = RollingBlocks(size)
    blocks.add(rows)
    found = blocks.blocks()
    assert found is not None
    error, variance = found.window().error, rows.var(axis=0)
    moving = (variance > 0) & (error > 0)
    if not moving.any():
        return len(rows)
    return int(np.clip(np.median(variance[moving] / error[moving] ** 2), 2, len(rows)))


def _read(item: Mapping[str, Any]) -> InputReference:
    mean, std = (np.array(item[name], dtype=np.float64) for name in ("mean", "std"))
    rows = None if item["rows"] is None else int(item["rows"])
    if mean.shape != std.shape or not (
        np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()
    ):
        raise ValueError("a mean or spread that is none")
    return InputReference(mean, std, rows)


def _digits(values: Array) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
