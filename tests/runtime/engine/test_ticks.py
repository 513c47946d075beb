"""What runs beside requests does a bounded piece of work at a time, however much was served.

Counted in operations of the interpreter: in seconds it would be the machine's. A service at 70 % of what it
can bear needs three times as long as it was held up to make up for it, so one piece of 0.1 ms a hundred times
a second would be in its 99th percentile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from grandopt.runtime.adaptation.controller import Controller
from grandopt.runtime.adaptation.readings import BatcherReader
from grandopt.runtime.adaptation.tuner import batcher_knobs
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.scheduling.batcher import Batcher
from tests.operations import counted
from tests.runtime.engine.agents import line

LOOK, TUNE = 2_500, 1_500
"""Operations in one piece; some 20 ns each where the caches are warm, with what they call in NumPy."""
X = np.arange(4, dtype=np.float32)


async def asked(engine: Engine, requests: int) -> None:
    for number in range(requests):
        await engine.infer("line", X + number % 100)


def serving(body: Callable[[Engine], object], requests: int, monitor: Monitor | None = None) -> None:
    """`body` with an engine that answered so many requests."""

    async def main() -> None:
        engine = Engine(monitor=monitor)
        await engine.initialize(memory=False, workers="inline", monitor_every_s=300.0)
        async with engine:
            engine.add("line", line())
            await asked(engine, requests)
            body(engine)

    asyncio.run(main())


def pieces_of_a_look(requests: int) -> list[int]:
    """Operations between the rests of the third look."""
    found: list[int] = []

    def body(engine: Engine) -> None:
        monitor.look()
        monitor.look()
        with counted() as operations:
            rests.append(lambda: found.append(operations.taken()))
            monitor.look_in_pieces()
            found.append(operations.taken())

    rests: list[Callable[[], None]] = []
    settings = MonitorSettings(interval_s=300.0, window_s=3000.0)
    monitor = Monitor(settings, rest=lambda seconds: [rest() for rest in rests])
    serving(body, requests, monitor)
    return found


def pieces_of_the_tuner(requests: int) -> list[int]:
    """Operations of each piece of a controller on a batcher that is in use."""
    found: list[int] = []

    def body(engine: Engine) -> None:
        batcher = engine.served("line").batcher
        assert isinstance(batcher, Batcher)
        reader = BatcherReader(batcher, time.perf_counter_ns)
        controller = Controller("line", reader.read, batcher_knobs(batcher, 1))
        for _ in range(60):
            for number in range(20):
                engine.submit("line", X + number)
            with counted() as operations:
                controller.piece()
                found.append(operations.taken())
        controller.close()

    serving(body, requests)
    return found


@pytest.mark.parametrize(("pieces", "limit"), [(pieces_of_a_look, LOOK), (pieces_of_the_tuner, TUNE)])
def test_a_piece_is_small_and_does_not_grow_with_what_was_served(
    pieces: Callable[[int], list[int]], limit: int
) -> None:
    few, many = pieces(1_000), pieces(30_000)
    assert len(few) >= 8
    assert max(few) <= limit
    assert max(many) <= limit
    assert max(many) <= 1.2 * max(few)
