"""Batches computed on threads of their own, for engines that release the GIL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from grandopt.errors import ConfigError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.affinity import Affinity, pin, places
from grandopt.runtime.scheduling.workers.base import BatchBuffers, Done, Outcome, Workers, computed
from grandopt.signature import Array

_Work = tuple[Executor, Sequence[Array], Done]


class ThreadWorkers(Workers):
    """A number of threads that wait for batches.

    They are daemons: a batch that never ends does not keep the process from ending.
    """

    kind = "threads"

    def __init__(
        self, executor: Executor, size: int, *, affinity: Affinity = "none", name: str = "grandopt"
    ) -> None:
        if size < 1:
            raise ConfigError(f"concurrency must be at least 1, got {size}")
        self._executor = executor
        self._buffers = BatchBuffers(executor.signature)
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._name = name
        self._affinity = affinity
        self._size = 0
        self._running = 0
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._ended = asyncio.Event()
        self.resize(size)

    @property
    def size(self) -> int:
        """See Workers."""
        return self._size

    @property
    def idle(self) -> int:
        """See Workers."""
        return max(0, self._size - self._running)

    def rows(self, count: int) -> list[Array]:
        """See Workers."""
        return self._buffers.lend(count)

    def unused(self, inputs: Sequence[Array]) -> None:
        """See Workers."""
        self._buffers.give_back(inputs)

    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        """See Workers."""
        self._running += 1
        self._work.put((self._executor, inputs, done))

    def replace(self, executor: Executor) -> None:
        """See Workers."""
        self._executor = executor

    def resize(self, size: int) -> None:
        """See Workers; threads that are too many end when they are idle."""
        if size < 1:
            raise ConfigError(f"concurrency must be at least 1, got {size}")
        cpus = places(self._affinity, size)
        for _ in range(size, self._size):
            self._work.put(None)
        for index in range(self._size, size):
            thread = threading.Thread(
                target=self._serve, args=(cpus[index],), name=f"{self._name}-{index}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._size = size

    def abandon(self) -> None:
        """See Workers."""
        if not self._closing:
            self._closing = True
            for _ in range(self._size):
                self._work.put(None)

    async def close(self) -> None:
        """See Workers."""
        self.abandon()
        while self._running:
            self._ended.clear()
            await self._ended.wait()
        for thread in self._threads:
            # Each has been told to end and has nothing left to compute.
            await asyncio.to_thread(thread.join)
        self._threads = []

    def _serve(self, cpu: int | None) -> None:
        pin(cpu)
        while (work := self._work.get()) is not None:
            executor, inputs, done = work
            outcome: Outcome
            try:
                outcome = computed(executor, inputs)
            except BaseException as error:  # noqa: BLE001 - a user's model may raise anything; callers are told
                outcome = error
            try:
                self._loop.call_soon_threadsafe(self._finish, inputs, outcome, done)
            except RuntimeError:
                return  # the loop was closed with batches running: nobody waits for them any more
            del work, executor, inputs, done, outcome  # not kept alive while waiting

    def _finish(self, inputs: Sequence[Array], outcome: Outcome, done: Done) -> None:
        self._running -= 1
        try:
            done(outcome)
        finally:
            self._buffers.give_back(inputs)
            self._ended.set()
