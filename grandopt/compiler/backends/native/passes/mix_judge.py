"""How much of the limits an agent uses up when some of its layers have weights of fewer bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.form import Graph, Op, Value
from grandopt.compiler.backends.native.levels import StoredWeights
from grandopt.compiler.backends.native.passes.observing import observing
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.simulate import Simulation
from grandopt.compiler.backends.native.work import multiply_adds
from grandopt.config.engines import ALIKE
from grandopt.signature import Array

SMALL = 0.25
"""Outputs below this part of their usual size count as so large."""
THIN = 0.2
"""The share of rows by which it is estimated how often the two largest scores are so close together."""
MOST_MACS, MOST_ELEMENTS = 150e9, 64_000_000
"""What weighing all layers may cost, in multiply-adds and in numbers that are held."""


@dataclass(frozen=True)
class MixLimits:
    """What verification allows: a relative L2 error, and a share of rows with another action; and the share
    of both that may be used up."""

    error: float
    flips: float
    share: float


@dataclass(frozen=True)
class Meanings:
    """The places of outputs whose largest element counts, and of continuous actions, with their bounds."""

    scores: frozenset[int]
    actions: frozenset[int] = frozenset()
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


class MixJudge:
    """Simulates a graph with some layers of reduced precision on observations: on as many as there is time
    for with so many `layers` to weigh.

    `samples` are [n, *shape] per input, ALIKE in a row of one kind; `meanings` says what outputs are for.
    With `scaled` the codes of raw observations are scaled as in `quantize`.
    """

    def __init__(
        self,
        graph: Graph,
        meanings: Meanings,
        samples: Sequence[Array],
        limits: MixLimits,
        *,
        layers: int,
        scaled: bool,
    ) -> None:
        self.limits = limits
        self._graph, self._samples, self._scaled = graph, samples, scaled
        self._raw = observing(graph)
        self._meanings = meanings
        self._scores, self._actions = (
            {value for place in places for value in _numbers(graph, graph.outputs[place])}
            for places in (meanings.scores, meanings.actions)
        )
        found = [value for output in graph.outputs for value in _numbers(graph, output)]
        self._wanted = list(dict.fromkeys(found))
        self._simulation = Simulation(graph, _looked_at(graph, samples, layers))
        self._truth = self._simulation.values(self._wanted)

    def usage(self, choice: Mapping[Op, StoredWeights]) -> float:
        """The share of the limits that is used up with layers of these precisions, 1 at a limit."""
        codes = {op for op, precision in choice.items() if precision == "int8"}
        halved = frozenset(op for op, precision in choice.items() if precision == "bfloat16")
        graph = self._graph
        if codes:
            samples = self._samples if self._scaled and codes & self._raw else None
            graph = quantize(graph, frozenset(graph.ops) - codes, samples)
        used = [0.0]
        found = self._simulation.variant(graph, self._wanted, halved)
        for value, one, truth in zip(self._wanted, found, self._truth, strict=True):
            if len(truth) > 1:  # else it is the same for all observations
                used.append(_off(one, truth) / self.limits.error)
                if value in self._scores and value.shape and value.shape[-1] > 1:
                    used.append(_flips(one, truth) / self.limits.flips)
                if value in self._actions:
                    used.append(self._moved(one, truth) / self.limits.error)
        return max(used)

    def _moved(self, values: Array, truth: Array) -> float:
        """How far actions are off, as a part of their range, on all rows but those that may be."""
        rows, moved = (array.reshape(len(truth), -1).astype(np.float64) for array in (truth, values))
        low = np.asarray(-np.inf if self._meanings.low is None else self._meanings.low)
        high = np.asarray(np.inf if self._meanings.high is None else self._meanings.high)
        rows, moved = np.clip(rows, low, high), np.clip(moved, low, high)
        span = high - low if np.isfinite(high - low).all() else 2 * np.nanmax(np.abs(rows), axis=0)
        off = np.abs(moved - rows) / np.where(span > 0, span, 1.0)
        return float(np.quantile(np.nan_to_num(off).max(axis=1), 1 - self.limits.flips))


def _looked_at(graph: Graph, samples: Sequence[Array], layers: int) -> list[Array]:
    """The samples that there is time for, whole kinds, as the graph takes them."""
    macs = sum(map(multiply_adds, graph.ops))
    held = sum(value.elements for op in graph.ops for value in op.outputs)
    most = min(MOST_MACS / (macs * (1 + layers)), MOST_ELEMENTS / held)
    kinds = len(samples[0]) // ALIKE
    chosen = np.linspace(0, kinds - 1, int(np.clip(most // ALIKE, 1, kinds)), dtype=np.int64)
    rows = (chosen[:, np.newaxis] * ALIKE + np.arange(ALIKE)).reshape(-1)
    return [
        array[rows].reshape(-1, *value.shape).astype(value.dtype)
        for array, value in zip(samples, graph.inputs, strict=True)
    ]


def _off(values: Array, truth: Array) -> float:
    """The relative L2 error of the kind in which it is largest."""
    size, error = (
        np.square(array.astype(np.float64)).reshape(len(array) // ALIKE, -1).mean(axis=1)
        for array in (truth, values - truth)
    )
    usable = np.isfinite(size) & np.isfinite(error)
    if not usable.any():
        return 0.0
    size, error = size[usable], error[usable]
    size = np.maximum(size, SMALL**2 * np.median(size))
    return float(np.sqrt((error / np.where(size > 0, size, 1.0)).max()))


def _flips(values: Array, truth: Array) -> float:
    """The share of rows on which the second largest element becomes the largest, from how close together they
    often are and how far they move: of so few rows hardly one can be seen to flip."""
    rows, moved = (array.reshape(-1, truth.shape[-1]).astype(np.float64) for array in (truth, values))
    usable = np.isfinite(rows).all(axis=1) & np.isfinite(moved).all(axis=1)
    rows, moved = rows[usable], moved[usable]
    two = np.argsort(rows, axis=1)[:, -2:]
    before, after = (np.diff(np.take_along_axis(array, two, 1), axis=1)[:, 0] for array in (rows, moved))
    size = np.where((spread := rows.std(axis=1)) > 0, spread, 1.0)
    if not len(rows):
        return 0.0
    near = max(float(np.quantile(before / size, THIN)), 1e-9)
    return float(np.mean(np.abs(after - before) / size) / 2 * THIN / near)


def _numbers(graph: Graph, output: Value) -> list[Value]:
    """The computed numbers that an output is, or is decided by."""
    producers = graph.producers()
    found: list[Value] = []
    pending = [output]
    while pending:
        value = pending.pop()
        if value.data is None and value.dtype.startswith("float"):
            found.append(value)
        elif value in producers:
            pending += producers[value].inputs
    return found
