"""What every kind of workers promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.workers.base import Outcome, Workers
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.processes import ProcessWorkers
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers
from grandopt.signature import Array
from tests.worker_agents import FAULT, SLEEP, Marked, expected, observations

MAKE: dict[str, Callable[[Marked], Workers]] = {
    "inline": InlineWorker,
    "threads": lambda agent: ThreadWorkers(agent, 2),
    "processes": lambda agent: ProcessWorkers(agent, 2, rows=4),
}
pytestmark = pytest.mark.parametrize("kind", list(MAKE))
Body = Callable[[Workers], Awaitable[None]]


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[Workers]:
    workers = MAKE[kind](Marked())
    if isinstance(workers, ProcessWorkers):
        await workers.ready()
    try:
        yield workers
    finally:
        await workers.close()


def run(kind: str, body: Body) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(30), served(kind) as workers:
            await body(workers)

    asyncio.run(all_of_it())


async def call(workers: Workers, inputs: list[Array], *, lent: bool = True) -> Outcome:
    """The outcome of a batch; that it comes once, on this thread, is checked."""
    ended = asyncio.get_running_loop().create_future()
    thread = threading.current_thread()

    def done(outcome: Outcome) -> None:
        assert threading.current_thread() is thread
        ended.set_result(outcome)  # raises the second time

    if lent:
        buffers = workers.rows(len(inputs[0]))
        for buffer, given in zip(buffers, inputs, strict=True):
            assert buffer.shape == given.shape
            assert buffer.dtype == given.dtype
            buffer[...] = given
        workers.submit(buffers, done)
    else:
        workers.submit(inputs, done)
    outcome: Outcome = await ended
    return outcome


def same(outcome: Outcome, wanted: tuple[Array, ...]) -> None:
    assert isinstance(outcome, tuple), outcome
    for output, right in zip(outcome, wanted, strict=True):
        np.testing.assert_array_equal(output, right)


def test_its_name_and_size(kind: str) -> None:
    async def body(workers: Workers) -> None:
        assert workers.kind == kind
        assert workers.size == workers.idle == (1 if kind == "inline" else 2)

    run(kind, body)


@pytest.mark.parametrize("lent", [True, False])
def test_batches_of_any_size(kind: str, lent: bool) -> None:
    async def body(workers: Workers) -> None:
        for rows in (1, 3, 4, 5, 64, 1, 300):
            inputs = observations(rows, rows)
            same(await call(workers, inputs, lent=lent), expected(inputs))

    run(kind, body)


def test_outputs_are_the_receivers_for_good(kind: str) -> None:
    async def body(workers: Workers) -> None:
        given = [observations(4, seed) for seed in range(20)]
        outcomes = [await call(workers, inputs) for inputs in given]
        for inputs, outcome in zip(given, outcomes, strict=True):
            same(outcome, expected(inputs))
            assert all(output.flags.writeable for output in outcome)

    run(kind, body)


def test_buffers_that_are_lent_do_not_share_memory(kind: str) -> None:
    async def body(workers: Workers) -> None:
        lent = [workers.rows(4) for _ in range(5)]
        for number, buffers in enumerate(lent):
            buffers[1][...] = number
        assert [int(buffers[1][3]) for buffers in lent] == list(range(5))

    run(kind, body)


def test_the_agents_error_is_the_outcome(kind: str) -> None:
    async def body(workers: Workers) -> None:
        inputs = observations(3)
        inputs[0][1, 0] = FAULT
        outcome = await call(workers, inputs)
        assert isinstance(outcome, ValueError)
        assert str(outcome) == "a marked row"
        same(await call(workers, observations(3)), expected(observations(3)))

    run(kind, body)


def test_what_runs_ends_with_the_old_agent_and_what_comes_then_with_the_new(kind: str) -> None:
    async def body(workers: Workers) -> None:
        slow = observations(2)
        slow[0][0] = [SLEEP, 0.2, 0]
        before = asyncio.create_task(call(workers, slow))
        await asyncio.sleep(0)
        after = Marked(2.0)
        await workers.prepare(after)
        workers.replace(after)
        inputs = observations(5)
        same(await call(workers, inputs), expected(inputs, 2.0))
        same(await before, expected(slow))

    run(kind, body)


def test_closing_waits_for_what_runs_and_may_be_done_twice(kind: str) -> None:
    async def body(workers: Workers) -> None:
        slow = observations(2)
        slow[0][0] = [SLEEP, 0.2, 0]
        running = asyncio.create_task(call(workers, slow))
        await asyncio.sleep(0)
        await workers.close()
        same(await running, expected(slow))
        await workers.close()

    run(kind, body)


def test_sizes(kind: str) -> None:
    async def body(workers: Workers) -> None:
        for size in (0, -1):
            with pytest.raises(ConfigError, match=str(size)):
                workers.resize(size)
        if kind == "inline":
            return
        for size in (3, 1):
            workers.resize(size)
            if isinstance(workers, ProcessWorkers):
                await workers.ready()
            assert workers.size == size
            inputs = observations(5)
            same(await call(workers, inputs), expected(inputs))

    run(kind, body)


def test_several_at_once(kind: str) -> None:
    async def body(workers: Workers) -> None:
        given = [observations(2, seed) for seed in range(30)]
        for at in range(0, 30, workers.size):
            group = given[at : at + workers.size]
            outcomes = await asyncio.gather(*(call(workers, inputs) for inputs in group))
            for inputs, outcome in zip(group, outcomes, strict=True):
                same(outcome, expected(inputs))

    run(kind, body)
