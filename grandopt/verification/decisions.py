"""Decisions and how far scores are from another one."""

from __future__ import annotations

import numpy as np

from grandopt.signature import Array, Contract


def is_decision(contract: Contract) -> bool:
    """Whether the agent's action is chosen from scores (arg max or bits) rather than computed."""
    return contract.action in {"argmax", "binary"}


def decisions(contract: Contract, scores: Array) -> Array:
    """The decision that `scores` [B, n] lead to: one index per group, or one bit per score: [B, k]."""
    if contract.action == "binary":
        return np.asarray(scores > 0)
    edges = np.cumsum(contract.groups or (scores.shape[-1],))[:-1]
    return np.stack([group.argmax(axis=-1) for group in np.split(scores, edges, axis=-1)], axis=-1)


def typical_scale(scores: Array) -> float:
    """The median over rows of the largest absolute score of each of `scores` [B, n]."""
    return float(np.median(np.abs(scores).max(axis=-1)))


def relative_margins(contract: Contract, scores: Array, scale: float) -> Array:
    """Each row's margin as a fraction of its largest absolute score, which counts as at least `scale`: [B].

    The fraction is what errors are measured against: float32 resolves scores around 1000 to 1e-4, and where
    large terms cancel to small scores, the error stays that of the `scale` usual for this agent. A row that
    holds NaN or infinity has no margin, given as NaN.
    """
    finite = np.asarray(np.isfinite(scores).all(axis=-1))
    clean = np.where(finite[:, np.newaxis], scores, 0.0)
    scales = np.maximum(np.abs(clean).max(axis=-1), scale)
    margins = np.asarray(contract.margins(clean), dtype=np.float64)
    relative = np.divide(margins, scales, out=np.zeros_like(margins), where=scales > 0)
    # A row with a single score per group has no other decision to go to, whatever its scale.
    relative = np.where(np.isinf(margins), np.inf, relative)
    return np.where(finite, relative, np.nan)
