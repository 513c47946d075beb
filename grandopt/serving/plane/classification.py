"""The classification extension: the best classes of an output in the place of the output."""

from __future__ import annotations

import numpy as np

from grandopt.signature import Array


def best_classes(scores: Array, count: int) -> Array:
    """The `count` best classes of each row of `scores` [n, …] as "value:index", best first: objects [n, k].

    `k` is `count`, or the number of classes if that is less. Values are as in JSON; NaN counts as worse than
    every number. Of equal values the class of the lower index is the better one.
    """
    flat = scores.reshape(len(scores), -1)
    k = min(count, flat.shape[1])
    order = np.argsort(_worst_last(flat), axis=1, kind="stable")[:, :k]
    found = np.empty(order.shape, dtype=object)
    for row, classes in enumerate(order.tolist()):
        values = flat[row]
        found[row] = [
            f"{values[index].item():.6f}:{index}".encode()
            if flat.dtype.kind == "f"
            else f"{int(values[index])}:{index}".encode()
            for index in classes
        ]
    return found


def _worst_last(flat: Array) -> Array:
    """Numbers of which smaller ones are better, exactly as many orders as there were."""
    if flat.dtype.kind == "f":
        return -flat.astype(np.float64)  # which sorts NaN last
    if flat.dtype.kind == "u":
        return np.iinfo(flat.dtype).max - flat
    return -flat.astype(np.int64)
