"""Weights as 8-bit codes with one scale per output channel, rounded symmetrically."""

from __future__ import annotations

import numpy as np

from grandopt.signature import Array

LEVELS = 127
"""Codes of weights and activations lie between −LEVELS and LEVELS."""
RECTIFIED_LEVELS = 255
"""Codes of activations of which none is below zero lie between 0 and RECTIFIED_LEVELS."""
SCALES = (2.0**-60, 2.0**60)
"""Weight scales outside could overflow or vanish in the products of scales."""


def channel_scales(weight: Array) -> Array:
    """What one code of each row of [N, K] stands for, float32 [N]; 1 for rows of zeros."""
    top = np.abs(weight).max(axis=1).astype(np.float64)
    return np.where(top > 0, top / LEVELS, 1.0).astype(np.float32)


def codes_of(weight: Array) -> Array:
    """The weights [N, K] as int8, in units of their channel's scale."""
    scaled = weight.astype(np.float64) / channel_scales(weight).astype(np.float64)[:, np.newaxis]
    return np.clip(np.rint(scaled), -LEVELS, LEVELS).astype(np.int8)
