"""A recurrent agent that adds up, and ways to call it whose batches a test can see or hold back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature(
    (
        TensorSpec("count", (), "int64"),
        TensorSpec("total", (2,)),
        TensorSpec("start", ()),
        TensorSpec("obs", (2,)),
    ),
    (TensorSpec("next", (2,)), TensorSpec("said", (2,)), TensorSpec("counted", (), "int64")),
)
INITIAL = (1.0, 2.0)
CONTRACT = Contract(
    state=(StateTensor("total", "next", INITIAL), StateTensor("count", "counted")), episode_start="start"
)


def add(inputs: Sequence[Array]) -> tuple[Array, ...]:
    """total' = total / 2 + obs, row by row, and so many steps; it says total' and fails on infinity."""
    count, total, start, obs = inputs
    if np.isinf(obs).any():
        raise ValueError("infinite")
    summed = (total * (1 - start)[:, np.newaxis] / 2 + obs).astype(np.float32)
    return np.asfortranarray(summed), summed.copy(), count + 1


def adding() -> FakeExecutor:
    """The agent as an executor."""
    return FakeExecutor(SIGNATURE, add, CONTRACT)


def row(value: float) -> Array:
    return np.array([value, -value], np.float32)


class Turns:
    """Answers all rows that came in one turn of the event loop as one batch; keeps the sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._waiting: list[tuple[asyncio.Future[tuple[Array, ...]], tuple[Array, ...]]] = []

    async def infer(self, inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> tuple[Array, ...]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future = loop.create_future()
        self._waiting.append((future, inputs))
        answer: tuple[Array, ...] = await future
        return answer

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.sizes.append(len(waiting))
        outputs = add([np.stack(column) for column in zip(*(inputs for _, inputs in waiting), strict=True)])
        for number, (future, _) in enumerate(waiting):
            if not future.done():
                future.set_result(tuple(output[number] for output in outputs))


class Held:
    """Answers each call when the test says so, and fails it where the agent does."""

    def __init__(self) -> None:
        self.calls: list[tuple[asyncio.Future[None], tuple[Array, ...]]] = []
        self.seen: list[tuple[int, int]] = []

    async def infer(self, inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> tuple[Array, ...]:
        gate = asyncio.get_running_loop().create_future()
        self.calls.append((gate, inputs))
        self.seen.append((priority, deadline_ns))
        await gate
        return tuple(output[0] for output in add([array[np.newaxis] for array in inputs]))

    def answer(self) -> None:
        """Let the oldest call that somebody still waits for be answered."""
        while self.calls:
            gate, _ = self.calls.pop(0)
            if not gate.done():
                gate.set_result(None)
                return


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)
