"""A batch that is computed in parts, between which others get their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np

from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.request import Answer
from grandopt.signature import Array

AHEAD = 1
"""Parts of a batch that wait while others are computed: enough to keep the workers busy, and no more, so that
single requests get in between."""


async def in_parts(
    batcher: Batcher, arrays: tuple[Array, ...], row_bytes: int, priority: int, deadline: int
) -> Answer:
    """The outputs [n, *shape] for a batch [n, *shape], in parts of at most the batch limit.

    Where the agent is replaced meanwhile, all is computed again: one version answers the whole batch.
    """
    while True:
        executor = batcher.executor
        outputs = await _in_parts(batcher, arrays, row_bytes, priority, deadline)
        if batcher.executor is executor:
            return outputs


async def _in_parts(
    batcher: Batcher, arrays: tuple[Array, ...], row_bytes: int, priority: int, deadline: int
) -> Answer:
    rows = len(arrays[0])
    room = batcher.settings.rows(row_bytes)
    limit = min(batcher.settings.limit, room)
    jobs = min(batcher.workers.size + AHEAD, room)
    limit = min(limit, room // jobs)  # so that all of them may wait
    parts: list[Answer | None] = [None] * -(-rows // limit)
    places = iter(range(len(parts)))

    async def compute() -> None:
        for place in places:
            part = tuple(array[place * limit : (place + 1) * limit] for array in arrays)
            parts[place] = await batcher.infer_rows(part, priority, deadline)

    await _all([compute() for _ in range(min(len(parts), jobs))])
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


async def _all(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error ends the others and is raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
