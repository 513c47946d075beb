"""Whether an agent is still given what it was made for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.blocks import BLOCKS, FEWEST_BLOCKS, Blocks, RollingBlocks
from grandopt.runtime.monitoring.reference import (
    BINS,
    LEAST_STD,
    InputReference,
    Reference,
    chosen,
    shares_of,
)
from grandopt.signature import Array, Contract, Signature

KEPT = 512
"""Rows that are kept for the distribution, the newest."""
SHOWN = 10
FRESH_BLOCKS = BLOCKS // 8
"""Blocks that must have come before the verdict is looked at again, which costs more than adding rows."""
FARTHEST = 1e9
"""Standard deviations that anything further away counts as."""
ROW_BYTES = 1 << 14
"""A row whose looked-at elements take more is only counted by its moments, not kept."""


@dataclass(frozen=True)
class DriftSettings:
    """When inputs count as drifted: by statistics, and by a size that matters.

    An element has drifted when its mean is off by `shift` reference standard deviations or more, or its
    spread is `spread` times the reference's (or one part in it) or more, or its population stability index is
    `psi` or more, and that could not be chance: all tests of one look together err once in 1 / `alpha` looks.
    A window is 32 blocks of `block` rows. Raises ConfigError for values that mean nothing.
    """

    shift: float = 0.5
    spread: float = 2.0
    psi: float = 0.25
    alpha: float = 1e-3
    block: int = 128

    def __post_init__(self) -> None:
        if not (
            self.shift > 0 and self.spread > 1 and self.psi > 0 and 0 < self.alpha < 1 and self.block > 0
        ):
            raise ConfigError(
                f"shift, psi and block must be positive, spread above 1, alpha between 0 and 1; got {self}"
            )


@dataclass(frozen=True)
class FeatureDrift:
    """One element of an input: `shift` of its mean in reference standard deviations, `spread` over the
    reference's, each with its normal deviate, and the population stability index where it could be taken."""

    input: str
    element: int
    shift: float
    shift_z: float
    spread: float
    spread_z: float
    psi: float | None
    drifted: bool


@dataclass(frozen=True)
class DriftReport:
    """What the newest rows say against the reference.

    `drifted` is None with the `reason` where there is nothing to say. `rows` were looked at in this window,
    `critical_z` is what a deviate must reach with `tests` of them. `features` are the farthest elements.
    `seen` rows were tapped in all, of which `nonfinite` had a NaN or an infinity and are in no other figure.
    """

    origin: str | None
    drifted: bool | None
    reason: str | None
    rows: int
    tests: int
    critical_z: float
    drifted_features: int
    largest_shift: float | None
    features: tuple[FeatureDrift, ...]
    seen: int
    nonfinite: int


class InputDrift:
    """Compares tapped inputs with a reference. Not thread-safe: its monitor calls it from one thread.

    Memory is bounded: 32 blocks of two sums per element, and KEPT rows where the reference has deciles.
    """

    def __init__(
        self,
        signature: Signature,
        contract: Contract,
        reference: Reference | None,
        settings: DriftSettings = DriftSettings(),
    ) -> None:
        observed = {spec.name for spec in signature.observed(contract)}
        self._origin = None if reference is None else reference.origin
        self._settings = settings
        self._observed = [place for place, spec in enumerate(signature.inputs) if spec.name in observed]
        known = {} if reference is None else reference.inputs
        self._inputs = [
            (place, _Input(spec.name, known[spec.name], settings.block))
            for place, spec in enumerate(signature.inputs)
            if spec.name in observed and spec.name in known
        ]
        self._seen = self._nonfinite = self._judged = 0
        self._report: DriftReport | None = None

    def add(self, inputs: Sequence[Array]) -> None:
        """Look at rows: arrays [n, *shape] in the order of the signature, as they followed one another."""
        rows = len(inputs[0])
        finite = np.ones(rows, dtype=bool)
        for place in self._observed:
            if inputs[place].dtype.kind == "f":
                finite &= np.isfinite(inputs[place]).reshape(rows, -1).all(axis=1)
        self._seen += rows
        self._nonfinite += rows - int(finite.sum())
        if finite.any():
            for place, item in self._inputs:
                item.add(inputs[place][finite].reshape(int(finite.sum()), -1))

    def report(self) -> DriftReport:
        """The verdict on the newest rows; anew once an eighth of a window has come."""
        last, fresh = self._report, self._seen - self._judged >= FRESH_BLOCKS * self._settings.block
        if last is None or last.drifted is None or fresh:
            last = self._report = self._judge()
            self._judged = self._seen
        return replace(last, seen=self._seen, nonfinite=self._nonfinite)

    def _judge(self) -> DriftReport:
        tests = sum(item.tests for _, item in self._inputs)
        critical = NormalDist().inv_cdf(1 - self._settings.alpha / (2 * max(tests, 1)))
        looked = [item.look(self._settings, critical) for _, item in self._inputs]
        rows = min((item.rows for item in looked), default=0)
        reason = None
        if not self._inputs:
            reason = "neither the checkpoint nor recorded samples say what its inputs were; give samples"
        elif rows < FEWEST_BLOCKS * self._settings.block:
            reason = (
                f"needs {FEWEST_BLOCKS * self._settings.block} rows in {FEWEST_BLOCKS} blocks, has {rows}"
            )
        features = sorted(
            (feature for item in looked for feature in item.farthest),
            key=lambda item: (not item.drifted, -abs(item.shift)),
        )
        drifted = sum(item.drifted for item in looked)
        return DriftReport(
            origin=self._origin,
            drifted=None if reason else drifted > 0,
            reason=reason,
            rows=rows,
            tests=tests,
            critical_z=critical,
            drifted_features=drifted,
            largest_shift=max((item.largest_shift for item in looked if item.rows), default=None),
            features=tuple(features[:SHOWN]),
            seen=self._seen,
            nonfinite=self._nonfinite,
        )


class _Looked(NamedTuple):
    """What one input does: its rows, elements that drifted, the largest shift, and the farthest elements."""

    rows: int
    drifted: int
    largest_shift: float
    farthest: tuple[FeatureDrift, ...]


class _Input:
    """One input: its standardised rows in blocks, and the newest of them as they are."""

    def __init__(self, name: str, reference: InputReference, block: int) -> None:
        self.name = name
        self._places = chosen(reference.mean.size)
        self._mean = reference.mean[self._places]
        least = LEAST_STD * np.maximum(np.abs(self._mean), 1.0)
        self._constant = reference.std[self._places] <= least
        self._std = np.maximum(reference.std[self._places], least)
        self._rows = reference.rows
        self._blocks = RollingBlocks(block)
        self._edges = self._shares = None
        if (
            reference.edges is not None
            and reference.shares is not None
            and self._places.size * 8 <= ROW_BYTES
        ):
            self._edges, self._shares = reference.edges[:, self._places], reference.shares[:, self._places]
        self._newest: deque[Array] = deque(maxlen=KEPT)
        self.tests = self._places.size * (2 if self._edges is None else 3)

    def add(self, rows: Array) -> None:
        rows = rows if rows.shape[1] == self._places.size else rows[:, self._places]
        size = self._places.size
        both = np.empty((len(rows), 2 * size))
        off = np.subtract(rows, self._mean, out=both[:, :size])
        off /= self._std
        np.clip(off, -FARTHEST, FARTHEST, out=off)
        np.square(off, out=both[:, size:])
        self._blocks.add(both)
        if self._edges is not None:
            self._newest.extend(rows.astype(np.float64))

    def look(self, settings: DriftSettings, critical: float) -> _Looked:
        blocks = self._blocks.blocks()
        if blocks is None:
            return _Looked(0, 0, 0.0, ())
        size = self._places.size
        first, squares = blocks.means[:, :size], blocks.means[:, size:]
        place = Blocks(first, blocks.size).window()
        centred = squares - 2 * place.mean * first + place.mean**2
        width = Blocks(centred, blocks.size).window()
        own = 0.0 if self._rows is None else 1 / np.sqrt(self._rows)
        known = None if self._rows is None else max(self._rows - 1, 1)
        shift_z = place.z(np.zeros(size), own, known)
        spread_z = width.z(np.ones(size), np.sqrt(2) * own, known)
        spread = np.sqrt(np.maximum(width.mean, 0.0))
        if known is not None:
            spread_z = _nearer(spread_z, _spread_by_chance(spread, known))
        by_shift = (np.abs(place.mean) >= settings.shift) & (np.abs(shift_z) >= critical)
        # An element that was constant has no spread that could become less.
        far = (spread >= settings.spread) | ((spread <= 1 / settings.spread) & ~self._constant)
        drifted = by_shift | (far & (np.abs(spread_z) >= critical))
        psi = None
        if self._edges is not None:
            # Rows that resemble their neighbours count for as many as the error of the mean shows.
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.nan_to_num(width.mean / place.error**2 / place.rows, posinf=1.0)
            psi, psi_z = self._stability(np.clip(share, 1 / place.rows, 1.0))
            drifted |= (psi >= settings.psi) & (psi_z >= critical)
        order = np.lexsort((-np.abs(place.mean), ~drifted))[:SHOWN]
        farthest = tuple(
            FeatureDrift(
                input=self.name,
                element=int(self._places[f]),
                shift=float(place.mean[f]),
                shift_z=float(shift_z[f]),
                spread=float(spread[f]),
                spread_z=float(spread_z[f]),
                psi=None if psi is None else float(psi[f]),
                drifted=bool(drifted[f]),
            )
            for f in order
        )
        return _Looked(place.rows, int(drifted.sum()), float(np.abs(place.mean).max()), farthest)

    def _stability(self, share: Array) -> tuple[Array, Array]:
        """The population stability index of each element, and its normal deviate.

        Where nothing changed the index, over its sum of inverse sample sizes, is about chi-squared with one
        degree less than there are bins (Yurdakul, 2018); Wilson and Hilferty's cube root makes it normal.
        """
        assert self._edges is not None
        assert self._shares is not None
        assert self._rows is not None
        rows = np.stack(self._newest)
        effective = np.maximum(len(rows) * share, 1.0)
        now = shares_of(rows, self._edges)
        # A bin that one side leaves empty counts as holding half a row.
        before = np.maximum(self._shares, 0.5 / self._rows)
        now = np.where((now == 0) & (self._shares == 0), before, np.maximum(now, 0.5 / effective))
        psi = ((now - before) * np.log(now / before)).sum(axis=0)
        degrees = BINS - 1
        ratio = psi / (1 / effective + 1 / self._rows) / degrees
        spread = 2 / (9 * degrees)
        return psi, (np.cbrt(ratio) - (1 - spread)) / np.sqrt(spread)


def _spread_by_chance(spread: Array, degrees: int) -> Array:
    """The normal deviate of a reference's variance, of so many degrees of freedom, if the true one is that of
    now: chi-squared, by Wilson and Hilferty's cube root."""
    part = 2 / (9 * degrees)
    with np.errstate(divide="ignore"):
        z: Array = ((1 - part) - np.cbrt(1 / spread**2)) / np.sqrt(part)
    return z


def _nearer(one: Array, other: Array) -> Array:
    """Of two deviates the one that says less."""
    return np.where(np.abs(one) <= np.abs(other), one, other)
