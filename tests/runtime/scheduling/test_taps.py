"""Watchers of a batcher: each sees the rows that it waits for, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.taps import Taps, Watcher
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature((TensorSpec("x", (1,)),), (TensorSpec("y", (1,)),))


class Every:
    """Looks at every `step`-th row, wherever in a batch it is."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.seen: list[int] = []
        self.watcher: Watcher | None = None

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> int:
        assert self.watcher is not None
        place = self.watcher.over
        while place < len(inputs[0]):
            self.seen.append(int(inputs[0][place, 0]))
            place += self.step
        return place - len(inputs[0])


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_each_watcher_sees_its_rows(batches: list[int], steps: list[int]) -> None:
    async def serve() -> None:
        executor = FakeExecutor(SIGNATURE, lambda inputs: (inputs[0] + 1,))
        batcher = Batcher(executor, InlineWorker(executor), BatchSettings(limit=64), BatchCost(1.0, 1e6, 1e6))
        taps = Taps(batcher)
        number, begun, watching = 0, [], []
        for place, rows in enumerate(batches):
            if place < len(steps):  # they come one after another
                every = Every(steps[place])
                every.watcher = taps.add(every)
                watching.append(every)
                begun.append(number)
            x = np.arange(number, number + rows, dtype=np.float32)[:, None]
            number += rows
            await batcher.infer_rows((x,))
        assert taps.rows == number
        for every, first in zip(watching, begun, strict=True):
            assert every.seen == list(range(first, number, every.step))
        for every in watching:
            assert every.watcher is not None
            taps.remove(every.watcher)
        await batcher.infer_rows((np.zeros((3, 1), np.float32),))
        assert batcher.shown.tap is None
        assert taps.rows == number
        await batcher.close()

    asyncio.run(serve())
