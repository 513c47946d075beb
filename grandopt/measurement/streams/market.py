"""Made-up market data of the form that recorded ones have, to measure caches with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TICK = 0.25
"""Price step of an index future."""
START = 16_000
"""The first price, in ticks."""
STEPS = 20
"""Trades within a bar that its high and low come from."""
FEATURES = ("open", "high", "low", "close", "volume", "trades", "spread")


def bars(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """`count` bars [count, 7] of FEATURES: prices and spread in multiples of TICK, counts in whole numbers.

    The price is a random walk in ticks whose volatility (about 3 ticks a bar) wanders as well; a bar opens
    within a tick of the last close. Volume is log-normal with a median of 665, and a trade is of 2 to 5
    contracts. Nothing is scaled: a feature divided by its own spread, as some agents want it, has mantissas
    that no lossless compression makes smaller.
    """
    volatility = np.exp(0.5 * np.cumsum(rng.normal(0, 0.02, count)))
    volatility *= 3 / volatility.mean()
    steps = np.rint(rng.normal(0, 1, (count, STEPS)) * volatility[:, None] / 3).astype(np.int64)
    gaps = rng.choice([-1, 0, 0, 0, 1], count)
    path = START + np.cumsum(np.column_stack([gaps, steps]).ravel()).reshape(count, STEPS + 1)
    volume = np.floor(np.exp(rng.normal(6.5, 0.6, count)))
    columns: list[NDArray[Any]] = [
        TICK * path[:, 0],
        TICK * path.max(axis=1),
        TICK * path.min(axis=1),
        TICK * path[:, -1],
        volume,
        np.floor(volume / rng.uniform(2, 5, count)),
        TICK * rng.choice([1, 1, 1, 2], count),
    ]
    return np.column_stack(columns).astype(np.float32)


def windows(count: int, rows: int, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """`count` observations [rows, 7], each of the last `rows` bars: one more bar from one to the next."""
    stream = bars(count + rows - 1, rng)
    return [stream[start : start + rows].copy() for start in range(count)]
