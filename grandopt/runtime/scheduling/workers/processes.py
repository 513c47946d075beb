"""Batches computed in processes of their own, for agents that hold the GIL."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.errors import ConfigError, EngineClosed, WorkerLost
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.affinity import Affinity, places
from grandopt.runtime.scheduling.workers.base import Done, Outcome, Workers
from grandopt.runtime.scheduling.workers.child_process import ChildProcess
from grandopt.runtime.scheduling.workers.messages import Kind, raised
from grandopt.runtime.scheduling.workers.slots import Slot, Slots
from grandopt.runtime.scheduling.workers.team import Team
from grandopt.signature import Array

ROWS = 64
"""Observations that a slot has room for at first."""
SPARE = 2
"""Slots kept beyond one for each worker: one is filled while all compute, one has just come back."""
_FAREWELL_S = 5.0


@dataclass
class _Batch:
    slot: Slot
    inputs: Sequence[Array]  # the slot is lent as long as they live
    done: Done


class ProcessWorkers(Workers):
    """Worker processes that share memory with this one.

    `rows` lends memory that the workers see as well, so that a batch is written once and read in place; other
    inputs are copied into such memory. Outputs are copied out of it, once. A worker that dies, of kill -9 or
    anything else, fails the batch that it computed with WorkerLost and is replaced; when no worker can be
    started, batches fail with WorkerLost at once, until one can. Workers end with this process, however it
    ends, and leave nothing behind.

    Starting takes what importing and loading take in a fresh process; batches that are submitted meanwhile
    wait. `ready` waits for it. `replace` needs new processes: after `prepare` they are there already.

    The executor's `remake` makes the agent in a worker. Where workers run is said by `affinity`, see
    `affinity.places`. Raises ConfigError for a size below 1, CPUs that are not there, an agent without
    declared outputs, and one without `remake` or whose `remake` cannot be pickled; UnsupportedError where the
    system offers no such processes.
    """

    kind = "processes"

    def __init__(
        self,
        executor: Executor,
        size: int,
        *,
        affinity: Affinity = "none",
        rows: int = ROWS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = executor
        self._affinity = affinity
        self._size = _checked(size)
        self._slots = Slots(executor.signature, rows, self._size + SPARE)
        self._waiting: deque[_Batch] = deque()
        self._running: dict[ChildProcess, _Batch] = {}
        self._prepared: tuple[Executor, Team] | None = None
        self._retired: set[Team] = set()
        self._closed = False
        self._drained = asyncio.Event()
        self._team = self._new_team(executor)

    @property
    def size(self) -> int:
        """See Workers."""
        return self._size

    @property
    def idle(self) -> int:
        """See Workers; of a broken team all, because they fail a batch at once."""
        if self._team.error is not None:
            return self._size
        return max(0, self._team.idle - len(self._waiting))

    @property
    def pids(self) -> list[int]:
        """The numbers of the worker processes of now."""
        return self._team.pids

    @property
    def lent(self) -> int:
        """How many pieces of shared memory somebody looks at."""
        return self._slots.lent

    @property
    def shared_bytes(self) -> int:
        """Of shared memory that there is, lent or not."""
        return self._slots.bytes

    def rows(self, count: int) -> list[Array]:
        """See Workers; lent until the last array that looks at them dies."""
        return self._slots.lease(count)

    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        """See Workers; without an idle worker the batch waits for one."""
        if self._closed:
            self._loop.call_soon(done, EngineClosed("the worker processes were ended"))
        elif self._team.error is not None:
            self._loop.call_soon(done, self._team.error)
        else:
            try:
                slot, held = self._slots.holding(inputs)
            except (OSError, MemoryError) as error:  # the system has no more memory or files
                self._loop.call_soon(done, error)
                return
            self._waiting.append(_Batch(slot, held, done))
            self._give()

    async def ready(self) -> None:
        """Wait until every worker has loaded the agent; raises WorkerLost, with its cause, if none can."""
        await self._team.ready()

    async def prepare(self, executor: Executor) -> None:
        """Start processes that have loaded `executor`, for a `replace` that then takes no time.

        Raises WorkerLost when they cannot load it, and EngineClosed: the agent of now stays as it is.
        """
        if self._closed:
            raise EngineClosed("the worker processes were ended")
        if self._prepared is not None and self._prepared[0] is executor:
            team = self._prepared[1]
        else:
            self._discard_prepared()
            team = self._new_team(executor)
            self._prepared = executor, team
        try:
            await team.ready()
        except BaseException:
            if self._prepared is not None and self._prepared[1] is team:
                self._discard_prepared()
            raise

    def replace(self, executor: Executor) -> None:
        """See Workers; batches that wait are computed by the new agent."""
        if self._closed:
            return
        if self._prepared is not None and self._prepared[0] is executor:
            team = self._prepared[1]
            self._prepared = None
        else:
            team = self._new_team(executor)
        self._executor = executor
        before, self._team = self._team, team
        self._retire(before)
        self._give()

    def resize(self, size: int) -> None:
        """See Workers; workers that are too many end when they are idle."""
        cpus = places(self._affinity, _checked(size))
        self._size = size
        self._team.resize(cpus)

    async def close(self) -> None:
        """See Workers; waits for the batches that wait, too. Cancelled, it ends the processes at once."""
        self._closed = True
        teams = {self._team, *self._retired}
        try:
            while self._waiting or self._running:
                self._drained.clear()
                await self._drained.wait()
            self._discard_prepared()
            self._retire(self._team)
            teams |= self._retired
            async with asyncio.timeout(_FAREWELL_S):
                await asyncio.gather(*(team.ended() for team in teams))
        except TimeoutError:
            pass
        finally:
            self.abandon()
        await asyncio.gather(*(team.ended() for team in teams))
        self._retired.clear()

    def abandon(self) -> None:
        """See Workers; the processes are killed."""
        self._closed = True
        self._discard_prepared()
        self._retire(self._team)
        for team in self._retired:
            team.kill()
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            self._loop.call_soon(self._finish, batch, EngineClosed("the worker processes were ended"))
        self._slots.close()

    def free(self, team: Team) -> None:
        """Of a team: see `team.Owner`."""
        if team is self._team:
            self._give()
            self._tell()

    def answered(self, child: ChildProcess, packet: bytes) -> None:
        """Of a team: see `team.Owner`."""
        batch = self._running.pop(child)
        self._give()
        if packet[0] == Kind.DONE:
            self._finish(batch, batch.slot.outputs(len(batch.inputs[0])))
        else:
            self._finish(batch, raised(packet))

    def lost(self, child: ChildProcess, error: WorkerLost) -> None:
        """Of a team: see `team.Owner`."""
        self._finish(self._running.pop(child), error)

    def broken(self, team: Team, error: WorkerLost) -> None:
        """Of a team: see `team.Owner`."""
        if team is not self._team:
            return
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            self._loop.call_soon(self._finish, batch, error)
        self._drained.set()
        self._tell()

    def _new_team(self, executor: Executor) -> Team:
        if executor.signature != self._executor.signature:
            raise ConfigError(
                "an agent that takes or gives other tensors cannot take the place of the one that is served; "
                "serve it under another name"
            )
        cpus = places(self._affinity, self._size)
        return Team(self._loop, executor, cpus, self)

    def _give(self) -> None:
        """Hand batches that wait to workers that are idle."""
        while self._waiting and self._team.idle:
            batch = self._waiting.popleft()
            child = self._team.take()
            self._running[child] = batch
            child.send(batch.slot, len(batch.inputs[0]), self._slots.numbers)

    def _finish(self, batch: _Batch, outcome: Outcome) -> None:
        if not self._waiting and not self._running:
            self._drained.set()
        batch.done(outcome)

    def _tell(self) -> None:
        if self.freed is not None and self.idle:
            self.freed()

    def _retire(self, team: Team) -> None:
        self._retired = {old for old in self._retired if old.pids}
        self._retired.add(team)
        team.retire()

    def _discard_prepared(self) -> None:
        if self._prepared is not None:
            self._retire(self._prepared[1])
            self._prepared = None


def _checked(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigError(f"concurrency must be at least 1, got {size!r}")
    return size
