"""Agents for clients: one for each dtype, one that takes its time, and ones of several tensors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.shared_memory.regions import SharedRegions
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line, pair
from tests.serving.agents import plane_of, serve

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""All that agents have."""


def mirror(dtype: str) -> FakeExecutor:
    """x [2, 3] → x backwards, and as it is."""
    specs = (TensorSpec("backwards", (2, 3), dtype), TensorSpec("same", (2, 3), dtype))
    return FakeExecutor(
        Signature((TensorSpec("x", (2, 3), dtype),), specs),
        lambda inputs: (inputs[0][:, ::-1, ::-1].copy(), inputs[0].copy()),
    )


def slow() -> FakeExecutor:
    """x [1] → x, after the largest x in seconds."""

    def waited(inputs: Sequence[Array]) -> tuple[Array, ...]:
        time.sleep(float(inputs[0].max()))
        return (inputs[0].copy(),)

    return FakeExecutor(Signature((TensorSpec("x", (1,)),), (TensorSpec("y", (1,)),)), waited)


@asynccontextmanager
async def all_served(folder: Path, regions: SharedRegions | None = None) -> AsyncIterator[DataPlane]:
    """A data plane that serves all of them, over an empty folder."""
    mirrors = {f"mirror_{dtype}": mirror(dtype) for dtype in DTYPES}
    async with plane_of(folder, "basic", regions, line=line(), pair=pair(), **mirrors) as plane:
        # What takes its time must not take the event loop's; it is not seen when the agent is loaded.
        serve(plane.repository, "slow", slow(), workers="threads", concurrency=1)
        yield plane
