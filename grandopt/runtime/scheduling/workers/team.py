"""The worker processes of one agent: started, replaced when they die, ended."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import pickle
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from grandopt.errors import ConfigError, UnsupportedError, WorkerLost, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.child_process import ChildProcess
from grandopt.runtime.scheduling.workers.messages import Kind, raised

LIMIT = 4
"""Ends of workers in a row, without an answer between them, after which requests no longer wait for one."""
LIVED_S = 1.0
"""Seconds for which a worker was ready that has not ended because of its start."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 30.0
_log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who gives a team its work, and is told of what happens to it."""

    def free(self, team: Team) -> None:
        """A worker has become ready for its first work."""

    def answered(self, child: ChildProcess, packet: bytes) -> None:
        """A worker has computed what it had, or failed to, and is ready again if it stays."""

    def lost(self, child: ChildProcess, error: WorkerLost) -> None:
        """A worker has ended in the middle of its work."""

    def broken(self, team: Team, error: WorkerLost) -> None:
        """No worker is ready, and those that were started in their place ended as well."""


class Team:
    """A process for each of `cpus` (None: on any CPU), each with the agent that `executor.remake` makes.

    One that ends is replaced at once; where its successors end soon and before they have answered anything,
    each waits twice as long as the one before. After LIMIT such ends, or when the agent cannot be loaded, the
    team is broken as long as none is ready: `error` says why. It goes on trying, at last every
    LONGEST_PAUSE_S seconds.

    It belongs to one event loop. Raises ConfigError for one that cannot be pickled and UnsupportedError
    where the system offers no such processes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        cpus: Sequence[int | None],
        owner: Owner,
    ) -> None:
        self.error: WorkerLost | None = None
        self._loop = loop
        self._owner = owner
        self._agent = _written(executor)
        self._size = 0
        self._children: dict[ChildProcess, int | None] = {}
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._leaving: set[ChildProcess] = set()
        self._since: dict[ChildProcess, float] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count()
        self._failures = 0
        self._cause: Exception | None = None
        self._changed = asyncio.Event()
        try:
            self.resize(cpus)
        except (OSError, AttributeError) as error:
            self.kill()
            raise UnsupportedError(
                f"cannot start a worker process: {error}; they need Linux 5.3 or later. Use threads"
            ) from error

    @property
    def idle(self) -> int:
        """How many workers are ready for work."""
        return len(self._idle)

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes, also of those that are starting or ending."""
        return [child.pid for child in self._children]

    def take(self) -> ChildProcess:
        """A worker that is ready; it is busy from now on."""
        child = self._idle.pop()  # the one that answered last: its caches are warm
        self._busy.add(child)
        return child

    async def ready(self) -> None:
        """Wait until all are ready.

        Raises the team's error when none can be started, and WorkerLost when the team is retired meanwhile.
        """
        while self.error is None and self._size > len(self._idle) + len(self._busy - self._leaving):
            await self._change()
        if self._size == 0:
            raise WorkerLost("the worker processes were ended before they were ready")
        if self.error is not None:
            raise self.error

    def resize(self, cpus: Sequence[int | None]) -> None:
        """Have a process for each of `cpus`; of those that are too many the unready and idle end first."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._size = len(cpus)
        wanted = Counter(cpus)
        staying = [child for child in self._children if child not in self._leaving]
        for child in sorted(staying, key=lambda child: (child not in self._busy, child not in self._idle)):
            if wanted[self._children[child]] > 0:
                wanted[self._children[child]] -= 1
            else:
                self._leave(child)
        for cpu in wanted.elements():
            self._start(cpu)

    def retire(self) -> None:
        """End each worker when it has done what it is doing."""
        self.resize(())
        self._changed.set()
        self._over()

    def kill(self) -> None:
        """End them now."""
        self.retire()
        for child in self._children:
            child.kill()

    async def ended(self) -> None:
        """Wait until a retired team is gone."""
        while self._children:
            await self._change()

    def heard(self, child: ChildProcess, packet: bytes) -> None:
        """Of a worker: see `child_process.Listener`."""
        kind = Kind(packet[0])
        if kind is Kind.UNLOADABLE:
            self._cause = raised(packet)
            return
        self.error = self._cause = None
        if kind is Kind.READY:
            self._since[child] = self._loop.time()
        self._busy.discard(child)
        if child in self._leaving:
            child.end()
        elif child.alive:
            self._idle.append(child)
        self._changed.set()
        if kind is Kind.READY:
            self._owner.free(self)
        else:
            self._failures = 0
            self._owner.answered(child, packet)

    def gone(self, child: ChildProcess, how: str) -> None:
        """Of a worker: see `child_process.Listener`."""
        cpu = self._children.pop(child)
        if self._loop.time() - self._since.pop(child, math.inf) > LIVED_S:
            self._failures = 0
        if child in self._idle:
            self._idle.remove(child)
        busy = child in self._busy
        self._busy.discard(child)
        if child in self._leaving:
            self._leaving.discard(child)
            self._over()
        else:
            self._replace(cpu, how)
        self._changed.set()
        if busy:
            self._owner.lost(
                child, WorkerLost(f"the worker process that computed this request ended with {how}")
            )

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _start(self, cpu: int | None) -> None:
        self._children[ChildProcess(self._loop, self._agent, cpu, self)] = cpu

    def _leave(self, child: ChildProcess) -> None:
        self._leaving.add(child)
        if child in self._idle:
            self._idle.remove(child)
            child.end()
        elif child not in self._busy:
            child.kill()  # it is still loading, which may take long and serves nobody

    def _replace(self, cpu: int | None, how: str) -> None:
        self._failures += 1
        pause = 0.0
        if self._failures > 1:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 2, 20))
        _log.warning("a worker process ended with %s; another one starts in %.2f s", how, pause)
        number = next(self._numbers)
        self._timers[number] = self._loop.call_later(pause, self._again, number, cpu)
        if self._idle or self._busy:
            return
        if self._cause is not None:
            self.error = WorkerLost(f"the worker processes cannot load the agent: {named_line(self._cause)}")
            self.error.__cause__ = self._cause
        elif self._failures >= LIMIT:
            self.error = WorkerLost(
                f"{self._failures} worker processes in a row ended before they had answered anything, the "
                f"last with {how}; another one is tried in {pause:.2g} s"
            )
        if self.error is not None:
            self._owner.broken(self, self.error)

    def _again(self, number: int, cpu: int | None) -> None:
        del self._timers[number]
        try:
            self._start(cpu)
        except OSError as error:
            self._replace(cpu, f"no start: {error.strerror}")

    def _over(self) -> None:
        if self._size == 0 and not self._children and self._agent >= 0:
            os.close(self._agent)
            self._agent = -1


def _written(executor: Executor) -> int:
    """A file without a name that says how the executor is made, and what it then takes and gives."""
    if executor.remake is None:
        raise ConfigError(
            "worker processes cannot make an agent that is only in this one's memory: load it from an "
            "artifact, set the executor's `remake`, or choose threads"
        )
    try:
        pickled = pickle.dumps((executor.signature, executor.remake))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"a worker process cannot be told how to make the agent: {error}; give a function that a module "
            f"has by name, or functools.partial of one"
        ) from error
    file = os.memfd_create("grandopt-agent", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(file), "wb") as stream:
        stream.write(pickled)
    return file
