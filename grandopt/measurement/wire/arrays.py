"""Arrays between the parent and a worker: files in a folder of the parent's, named by their paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.wire.codec import Request, unreadable
from grandopt.signature import Array

Paths = tuple[Path, ...]


def save_inputs(arrays: Sequence[Array], folder: Path) -> Paths:
    """Write arrays where a worker can read them; returns their paths, as a request names them.

    Raises MeasurementError when they cannot be written.
    """
    paths = tuple(folder / f"input-{place}.npy" for place in range(len(arrays)))
    try:
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    except OSError as error:
        raise MeasurementError(f"cannot hand the inputs to a worker process: {error}") from error
    return paths


def load_inputs(paths: Sequence[Path]) -> list[Array]:
    """What `save_inputs` wrote, in the worker."""
    return [np.load(path, allow_pickle=False) for path in paths]


def save_outputs(arrays: Sequence[Array], folder: Path, prefix: str) -> Paths:
    """Write arrays for the parent; returns their paths, as an answer names them."""
    paths = tuple(folder / f"{prefix}-{place}.npy" for place in range(len(arrays)))
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array, allow_pickle=False)
    return paths


def load_outputs(request: Request[Any], paths: Sequence[Path]) -> list[Array]:
    """What a worker wrote for its answer to `request`; raises MeasurementError when it cannot be read."""
    try:
        return [np.load(path, allow_pickle=False) for path in paths]
    except (OSError, ValueError) as error:
        raise unreadable(request, repr(error)) from error
