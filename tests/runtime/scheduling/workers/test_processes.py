"""Worker processes: what dies, what is replaced, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from grandopt.errors import ArtifactError, ConfigError, EngineClosed, SignatureError, WorkerLost
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers import team
from grandopt.runtime.scheduling.workers.base import Outcome
from grandopt.runtime.scheduling.workers.processes import ProcessWorkers
from grandopt.signature import Array, Signature
from tests.fakes import FakeExecutor
from tests.worker_agents import (
    CRASH,
    FAULT,
    SIGNATURE,
    SLEEP,
    Marked,
    Other,
    UnreadableError,
    dying,
    expected,
    made_by,
    observations,
    unloadable,
)

ROOT = Path(__file__).resolve().parents[4]


def run(
    body: Callable[[ProcessWorkers], Awaitable[None]], size: int = 1, agent: Executor | None = None
) -> None:
    """The body with workers that it may close, and a look at what is left afterwards."""

    async def all_of_it() -> None:
        async with asyncio.timeout(60):
            workers = ProcessWorkers(agent or Marked(), size, rows=4)
            try:
                await body(workers)
            finally:
                await workers.close()
            assert len(asyncio.all_tasks()) == 1

    files, children = open_files(), psutil.Process().children()
    asyncio.run(all_of_it())
    assert open_files() == files
    assert psutil.Process().children() == children


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - with its own, each time


def call(workers: ProcessWorkers, inputs: list[Array]) -> asyncio.Future[Outcome]:
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    workers.submit(inputs, ended.set_result)
    return ended


def marked(mark: float, second: float = 0.0, rows: int = 2) -> list[Array]:
    inputs = observations(rows)
    inputs[0][0] = [mark, second, 0]
    return inputs


async def works(workers: ProcessWorkers) -> None:
    inputs = observations(3)
    outcome = await call(workers, inputs)
    assert isinstance(outcome, tuple), outcome
    np.testing.assert_array_equal(outcome[0], expected(inputs)[0])


def test_batches_wait_while_workers_start_and_the_owner_is_told_when_one_is_ready() -> None:
    async def body(workers: ProcessWorkers) -> None:
        told: list[int] = []
        workers.freed = lambda: told.append(workers.idle)
        assert workers.idle == 0
        early = call(workers, observations(2))
        await workers.ready()
        assert isinstance(await early, tuple)
        await workers.ready()
        assert workers.idle == 1
        workers.resize(2)
        await workers.ready()
        assert told[-1] >= 1

    run(body)


def test_a_killed_worker_is_replaced_and_only_its_batch_fails() -> None:
    async def body(workers: ProcessWorkers) -> None:
        await workers.ready()
        before = workers.pids
        slow = [call(workers, marked(SLEEP, 0.3)) for _ in range(2)]
        waiting = [call(workers, observations(2)) for _ in range(3)]
        await asyncio.sleep(0.05)
        os.kill(before[0], signal.SIGKILL)
        outcomes = await asyncio.gather(*slow)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["WorkerLost", "tuple"]
        lost = next(outcome for outcome in outcomes if isinstance(outcome, WorkerLost))
        assert "SIGKILL" in str(lost)
        assert all(isinstance(outcome, tuple) for outcome in await asyncio.gather(*waiting))
        await workers.ready()
        assert len(workers.pids) == 2
        assert before[1] in workers.pids
        assert before[0] not in workers.pids
        await works(workers)

    run(body, size=2)


def test_an_idle_worker_that_is_killed_is_replaced() -> None:
    async def body(workers: ProcessWorkers) -> None:
        await workers.ready()
        (before,) = workers.pids
        os.kill(before, signal.SIGKILL)
        while workers.pids == [before]:
            await asyncio.sleep(0.01)
        await works(workers)

    run(body)


def test_a_worker_that_its_agent_crashes() -> None:
    async def body(workers: ProcessWorkers) -> None:
        for _ in range(2):
            assert isinstance(await call(workers, marked(CRASH)), WorkerLost)
            await works(workers)

    run(body)


def test_an_agent_that_cannot_be_loaded_is_an_error_with_its_cause() -> None:
    async def body(workers: ProcessWorkers) -> None:
        waiting = call(workers, observations(2))
        with pytest.raises(WorkerLost, match="artifacts/gate: damaged") as caught:
            await workers.ready()
        assert isinstance(caught.value.__cause__, ArtifactError)
        assert isinstance(await waiting, WorkerLost)
        assert workers.idle == 1  # whoever submits is told at once
        assert isinstance(await call(workers, observations(2)), WorkerLost)
        workers.replace(Marked())

    run(body, agent=made_by(unloadable))


def test_an_agent_of_another_interface_than_the_parents() -> None:
    async def body(workers: ProcessWorkers) -> None:
        with pytest.raises(WorkerLost, match="other tensors") as caught:
            await workers.ready()
        assert isinstance(caught.value.__cause__, SignatureError)
        with pytest.raises(ConfigError, match="under another name"):
            workers.replace(Other())

    run(body, agent=made_by(Other))


def test_workers_that_die_at_every_start_end_in_an_error_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "FIRST_PAUSE_S", 0.01)

    async def body(workers: ProcessWorkers) -> None:
        waiting = call(workers, observations(2))
        with pytest.raises(WorkerLost, match=r"4 worker processes in a row .* exit code 3"):
            await workers.ready()
        assert isinstance(await waiting, WorkerLost)
        while isinstance(outcome := await call(workers, observations(2)), WorkerLost):
            await asyncio.sleep(0.01)
        assert isinstance(outcome, tuple)
        await works(workers)

    run(body, agent=made_by(partial(dying, tmp_path, 5)))


def test_errors_that_cannot_be_read_here_come_as_their_words() -> None:
    async def body(workers: ProcessWorkers) -> None:
        outcome = await call(workers, marked(FAULT, 1.0))
        assert not isinstance(outcome, UnreadableError)
        assert str(outcome) == "UnreadableError: marked"

    run(body)


def test_a_prepared_agent_takes_over_at_once_and_one_that_fails_changes_nothing() -> None:
    async def body(workers: ProcessWorkers) -> None:
        await workers.ready()
        with pytest.raises(WorkerLost, match="damaged"):
            await workers.prepare(made_by(unloadable))
        await works(workers)
        for weight in (2.0, 4.0):  # what was prepared and is not wanted ends
            after = Marked(weight)
            await workers.prepare(after)
        workers.replace(after)
        assert workers.idle == 1
        inputs = observations(2)
        outcome = await call(workers, inputs)
        assert isinstance(outcome, tuple)
        np.testing.assert_array_equal(outcome[0], expected(inputs, 4.0)[0])
        await workers.prepare(Marked(5.0))  # and is closed with it

    run(body)


def test_memory_goes_back_when_nobody_looks_at_it_and_batches_that_grow_get_more() -> None:
    async def body(workers: ProcessWorkers) -> None:
        lent = workers.rows(3)
        view = lent[0].reshape(-1)[2:][None]
        assert workers.lent == 1
        del lent
        assert workers.lent == 1
        del view
        assert workers.lent == 0
        for rows in (1, 4, 5, 1000, 2):
            for _ in range(20):
                assert isinstance(await call(workers, observations(rows)), tuple)
        assert workers.lent == 0
        one = 1024 * (12 + 8 + 8 + 8)
        assert workers.shared_bytes <= 3 * one

    run(body)


def test_after_closing() -> None:
    async def body(workers: ProcessWorkers) -> None:
        last = call(workers, observations(2))  # waits for the start, and is answered
        await workers.close()
        assert isinstance(await last, tuple)
        assert isinstance(await call(workers, observations(2)), EngineClosed)
        with pytest.raises(EngineClosed):
            await workers.prepare(Marked())
        workers.replace(Marked())  # which nobody will ask
        assert workers.pids == []

    run(body)


def test_closing_that_is_given_up_ends_the_processes() -> None:
    async def body(workers: ProcessWorkers) -> None:
        await workers.ready()
        stuck = call(workers, marked(SLEEP, 60.0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await workers.close()
        assert isinstance(await stuck, WorkerLost)

    run(body)


def test_what_cannot_be() -> None:
    async def body() -> None:
        with pytest.raises(ConfigError, match="at least 1, got 0"):
            ProcessWorkers(Marked(), 0)
        with pytest.raises(ConfigError, match="function that a module"):
            ProcessWorkers(made_by(lambda: Marked()), 1)
        with pytest.raises(ConfigError, match="only in this one's memory"):
            ProcessWorkers(FakeExecutor(SIGNATURE, Marked().run), 1)
        with pytest.raises(ConfigError, match="CPU 4096"):
            ProcessWorkers(Marked(), 1, affinity=[4096])
        silent = Marked()
        silent.signature = Signature(SIGNATURE.inputs)
        with pytest.raises(ConfigError, match="outputs"):
            ProcessWorkers(silent, 1)

    files = open_files()
    asyncio.run(body())
    assert open_files() == files


def test_workers_are_pinned() -> None:
    cpus = sorted(os.sched_getaffinity(0))

    async def main() -> None:
        workers = ProcessWorkers(Marked(), 2, affinity="pin")
        try:
            await workers.ready()
            found = sorted(tuple(os.sched_getaffinity(pid)) for pid in workers.pids)
            assert found == sorted((cpus[worker % len(cpus)],) for worker in range(2))
        finally:
            await workers.close()

    asyncio.run(main())


PARENT = """
import asyncio, sys
from grandopt.runtime.scheduling.workers.processes import ProcessWorkers
from tests.worker_agents import Marked, Stuck, observations

async def main():
    workers = ProcessWorkers(Stuck(), 2)
    await workers.ready()
    workers.submit(observations(1), print)
    await asyncio.sleep(0.1)
    print(*workers.pids, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_even_in_a_call_that_holds_the_gil(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.send_signal(how)
        parent.wait()
        _, alive = psutil.wait_procs(workers, timeout=10)
        for worker in alive:
            worker.kill()
        assert alive == []
