"""Agents that can be made in another process, where fakes around functions of a test cannot."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from grandopt.errors import ArtifactError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("state", (3,)), TensorSpec("number", (), "int64")),
    (TensorSpec("sum", (2,)), TensorSpec("same", (), "int64")),
)
FAULT = 1e9
"""A state that starts with it makes the agent raise."""
CRASH = 2e9
"""… ends its process."""
SLEEP = 3e9
"""… takes as many seconds as its second number says."""


class UnreadableError(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class Marked(Executor):
    """Adds `weight` times the state's sum, and gives the number back; does as the marks say."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(SIGNATURE)
        self.weight = weight
        self.remake = partial(type(self), weight)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        state, number = inputs
        for row in state[state[:, 0] >= FAULT]:
            if row[0] == FAULT:
                raise UnreadableError("marked", "row") if row[1] == 1 else ValueError("a marked row")
            if row[0] == CRASH:
                os.kill(os.getpid(), signal.SIGKILL)
            if row[0] == SLEEP:
                time.sleep(float(row[1]))
        total = self.weight * state.sum(axis=1)
        return np.stack([total, -total], axis=1).astype(np.float32), number.copy()


class Other(Marked):
    """Of another interface than it says."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.signature = Signature(SIGNATURE.inputs, SIGNATURE.outputs[:1])


class Stuck(Marked):
    """Holds the GIL for a minute."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        ctypes.PyDLL(None).sleep(60)
        return super().run(inputs)


def unloadable() -> Executor:
    """What a damaged artifact does."""
    raise ArtifactError("artifacts/gate: damaged; build it again")


def dying(folder: Path, times: int) -> Executor:
    """Ends its process at the first so many starts, which leave files in the folder."""
    started = len(list(folder.iterdir()))
    (folder / str(os.getpid())).touch()
    if started < times:
        os._exit(3)
    return Marked()


def made_by(remake: Callable[[], Executor], weight: float = 1.0) -> Marked:
    """An agent that is made by something else in other processes."""
    agent = Marked(weight)
    agent.remake = remake
    return agent


def observations(rows: int, seed: int = 0) -> list[Array]:
    """Inputs of a batch."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((rows, 3)).astype(np.float32), np.arange(rows)]


def expected(inputs: Sequence[Array], weight: float = 1.0) -> tuple[Array, ...]:
    """What `Marked` gives."""
    return Marked(weight).run(inputs)
