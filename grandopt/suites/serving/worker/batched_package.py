"""The package `batched`: its `aio.dynamically`, in every setting that could be its best."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import product

from batched import aio

from grandopt.signature import Array
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.networks import Answers, batches

SIZES = (8, 32, 64, 256)
TIMEOUTS_MS = (0.0, 0.1, 1.0, 5.0)
"""5 ms and 32 are its defaults; with 0 it never sleeps, and asks its queue in every turn of the loop."""


class Batched(Contender):
    """`batched.aio`, whose function may be a coroutine or go to a thread, over eager or TorchScript."""

    settings = tuple(
        f"{kind}, {function}, batch_size={size}, timeout_ms={timeout:g}"
        for kind, function, size, timeout in product(
            (names.EAGER, names.SCRIPT), ("async function", "function"), SIZES, TIMEOUTS_MS
        )
    )

    def __init__(self, agent: ServedAgent) -> None:
        super().__init__(agent)
        self._setting = ""
        self._computes = {kind: batches(agent, kind) for kind in (names.EAGER, names.SCRIPT)}

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        self._setting = setting
        kind, function, size, timeout = setting.split(", ")
        compute = self._computes[kind]

        async def in_loop(observations: list[Array]) -> Answers:
            return compute(observations)

        def in_thread(observations: list[Array]) -> Answers:
            return compute(observations)

        chosen: object = in_loop if function.startswith("async") else in_thread
        yield aio.dynamically(chosen, batch_size=int(_value(size)), timeout_ms=float(_value(timeout)))

    def notes(self) -> Sequence[str]:
        polls = self._setting.endswith("=0")
        return ("with timeout_ms=0 it polls: a processor is busy while nobody asks",) if polls else ()


def _value(text: str) -> str:
    return text.partition("=")[2]
