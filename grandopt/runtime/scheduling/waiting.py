"""What waits for a worker: a lane for what has nothing special, and the queue for everything else.

Most requests are single observations of the normal class without a deadline. As long as only such wait, their
order is that of their arrival, and a list does what the queue would, for a tenth of its cost. As soon as
anything else waits, all goes through the queue.
"""

from __future__ import annotations

from asyncio import Future

from grandopt.runtime.scheduling.queue import RequestQueue
from grandopt.runtime.scheduling.request import Answer, Priority, Request
from grandopt.signature import Array

Plain = tuple["Future[Answer]", tuple[Array, ...], int]
"""Future, inputs and arrival of a single observation of the normal class without a deadline."""


class Waiting:
    """Belongs to one thread. Requests whose futures are done are left out when they are come upon."""

    def __init__(self) -> None:
        self.lane: list[Plain] = []
        self.queue = RequestQueue()
        self.room = 0
        """How many may wait in the lane; 0 while something waits elsewhere that they would overtake."""
        self._gone = 0

    @property
    def gone(self) -> int:
        """How many requests were left out because their callers were gone."""
        return self._gone + self.queue.gone

    @property
    def rows(self) -> int:
        """How many rows wait, those of callers that are gone included until they are come upon."""
        return len(self.lane) + self.queue.rows

    def rows_before(self, priority: int, deadline: int = 0) -> int:
        """How many rows would be served before a new request of that class and deadline; 0 is none."""
        plain = priority < Priority.NORMAL or (priority == Priority.NORMAL and not deadline)
        return self.queue.rows_before(priority, deadline) + (len(self.lane) if plain else 0)

    def take_plain(self, rows: int) -> list[Plain]:
        """The first requests of the lane, when nothing else waits."""
        taken = self.lane[:rows]
        del self.lane[:rows]
        alive = [plain for plain in taken if not plain[0].done()]
        self._gone += len(taken) - len(alive)
        return alive

    def through_queue(self) -> RequestQueue:
        """The queue, with everything in it."""
        for future, inputs, arrived in self.lane:
            if future.done():
                self._gone += 1
            else:
                self.queue.push(Request(future, inputs, 0, Priority.NORMAL, 0, arrived))
        self.lane.clear()  # the same list, which the batcher appends to
        return self.queue

    def purge(self) -> None:
        """Leave out all whose callers are gone."""
        alive = [plain for plain in self.lane if not plain[0].done()]
        self._gone += len(self.lane) - len(alive)
        self.lane[:] = alive
        self.queue.purge()

    def drain(self) -> list[Request]:
        """Take out everything that is still waited for."""
        return self.through_queue().drain()
