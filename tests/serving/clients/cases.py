"""Requests with the answers that the agents give when they are called themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from tests.runtime.engine.agents import pair
from tests.serving.clients.agents import DTYPES, mirror


def written_cases(folder: Path) -> Path:
    """A folder for each request, named MODEL@ROWS, with its inputs and outputs as files."""
    draws = np.random.default_rng(5)
    for dtype in DTYPES:
        for rows in (1, 4):
            _write(folder / f"mirror_{dtype}@{rows}", mirror(dtype), x=_drawn(draws, dtype, (rows, 2, 3)))
    for rows in (1, 3):
        x = _drawn(draws, "float32", (rows, 2))
        _write(folder / f"pair@{rows}", pair(), x=x, n=draws.integers(-5, 5, rows))
    return folder


def _drawn(draws: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Any bits that are a finite number: JSON has no others."""
    if np.dtype(dtype).kind == "f":
        return draws.normal(size=shape).astype(dtype)
    raw = draws.integers(0, 2 if dtype == "bool" else 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    return raw.view(dtype)[..., 0].copy()


def _write(folder: Path, agent: Executor, **inputs: Array) -> None:
    folder.mkdir()
    for name, array in inputs.items():
        np.save(folder / f"input.{name}.npy", array)
    answer = agent.run([inputs[spec.name] for spec in agent.signature.inputs])
    for spec, array in zip(agent.signature.outputs, answer, strict=True):
        np.save(folder / f"output.{spec.name}.npy", array)
