"""How many decisions an agent takes that a little noise would turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from grandopt.runtime.monitoring.blocks import FEWEST_BLOCKS, RollingBlocks
from grandopt.signature import Array, Contract, Signature

EVIDENCE = "margins"
"""Where the usual margins stand in the evidence of a manifest, which enters no digest."""
BLOCK = 64
BASELINE = 2048
"""Decisions of the traffic that are taken as the usual ones where no samples say what is usual."""
CLOSE = 0.05
"""The share of the usual decisions that counts as close: their quantile is the limit."""
GREW = 2.0
"""How many times the usual share is worth telling."""
ALPHA = 1e-3


@dataclass(frozen=True)
class MarginReport:
    """The share of decisions among the newest `rows` whose margin is below `limit`.

    A margin is the distance of the best score to the next best, over the largest score of the row. `limit` is
    what a share of `usual` of the usual decisions stayed below: those on recorded samples, or the first ones
    served (`origin` is "samples" or "traffic"). `low` … `high` is the 99 % interval of `share`, by the spread
    between blocks of decisions. `grew` says that it is above chance and at least twice the usual; it is None
    with the `reason` where nothing can be said.
    """

    output: str
    origin: str | None
    limit: float | None
    usual: float
    share: float | None
    low: float | None
    high: float | None
    rows: int
    grew: bool | None
    reason: str | None


class CloseDecisions:
    """Looks at the scores of tapped answers. Not thread-safe: its monitor calls it from one thread.

    `evidence` is that of the artifact's manifest, which may say what is usual. Outputs of the role "scores"
    are looked at; an agent that gives its action alone shows no margins, and its report is empty.
    """

    def __init__(self, signature: Signature, contract: Contract, evidence: Mapping[str, Any]) -> None:
        self._outputs = [
            (place, _Output(spec.name, contract))
            for place, spec in enumerate(signature.outputs)
            if spec.role == "scores"
        ]
        for _, output in self._outputs:
            output.learn_from(evidence)

    def add(self, outputs: Sequence[Array]) -> None:
        """Look at answers: arrays [n, *shape], as they followed one another."""
        for place, output in self._outputs:
            output.add(outputs[place])

    def report(self) -> tuple[MarginReport, ...]:
        """The verdict on each output of scores."""
        return tuple(output.report() for _, output in self._outputs)


class _Output:
    def __init__(self, name: str, contract: Contract) -> None:
        self._name = name
        self._contract = contract
        self._origin: str | None = None
        self._limit: float | None = None
        self._learnt = 0
        self._usual: list[Array] = []
        self._count = 0
        self._blocks = RollingBlocks(BLOCK)

    def learn_from(self, evidence: Mapping[str, Any]) -> None:
        try:
            usual = evidence[EVIDENCE][self._name]
            limit, rows = float(usual["limit"]), int(usual["rows"])
        except (KeyError, TypeError, ValueError):
            return  # nothing was recorded, or by another hand: the traffic says what is usual
        if limit >= 0 and rows > 0:
            self._limit, self._learnt, self._origin = limit, rows, "samples"

    def add(self, scores: Array) -> None:
        margins = _margins(self._contract, scores)
        if not margins.size:
            return
        if self._limit is not None:
            self._blocks.add((margins < self._limit).astype(np.float64)[:, np.newaxis])
            return
        self._usual.append(margins)
        self._count += margins.size
        if self._count >= BASELINE:
            usual = np.concatenate(self._usual)
            self._limit, self._origin, self._learnt = float(np.quantile(usual, CLOSE)), "traffic", usual.size
            self._usual.clear()

    def report(self) -> MarginReport:
        blocks = self._blocks.blocks()
        if self._limit is None or blocks is None:
            needed = BASELINE if self._limit is None else FEWEST_BLOCKS * BLOCK
            what = "usual decisions to compare with" if self._limit is None else "decisions"
            reason = f"needs {needed} {what}, has {self._count if self._limit is None else 'fewer'}"
            return MarginReport(
                self._name, self._origin, self._limit, CLOSE, None, None, None, 0, None, reason
            )
        window = blocks.window()
        # Blocks of a rare event may all lack it by chance: the error is at least that of independent rows.
        share = float(window.mean[0])
        floor = np.sqrt(max(share, CLOSE) * (1 - max(share, CLOSE)) / window.rows)
        error = float(np.hypot(max(window.error[0], floor), np.sqrt(CLOSE * (1 - CLOSE) / self._learnt)))
        wide = NormalDist().inv_cdf(0.995) * max(float(window.error[0]), float(floor))
        critical = NormalDist().inv_cdf(1 - ALPHA)
        return MarginReport(
            output=self._name,
            origin=self._origin,
            limit=self._limit,
            usual=CLOSE,
            share=share,
            low=max(share - wide, 0.0),
            high=min(share + wide, 1.0),
            rows=window.rows,
            grew=share >= GREW * CLOSE and share - CLOSE >= critical * error,
            reason=None,
        )


def usual_margins(signature: Signature, contract: Contract, outputs: Sequence[Array]) -> dict[str, Any]:
    """What is usual, for the evidence of a manifest: by the outputs [n, *shape] on recorded samples."""
    found = {}
    for spec, scores in zip(signature.outputs, outputs, strict=True):
        margins = _margins(contract, scores) if spec.role == "scores" else np.empty(0)
        if margins.size:
            found[spec.name] = {"limit": float(np.quantile(margins, CLOSE)), "rows": int(margins.size)}
    return found


def _margins(contract: Contract, scores: Array) -> Array:
    """Relative margins of the rows that have one."""
    rows = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return np.empty(0)
    size = np.abs(rows).max(axis=1)
    margins = np.asarray(contract.margins(rows)) / np.where(size > 0, size, 1.0)
    kept: Array = margins[np.isfinite(margins)]
    return kept
