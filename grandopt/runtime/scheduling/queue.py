"""What waits for a worker, in the order in which it is to be served.

Higher classes come first. Within a class the earliest deadline comes first (Liu and Layland, "Scheduling
Algorithms for Multiprogramming in a Hard-Real-Time Environment", 1973), then what has none, in the order of
arrival. So that nothing starves, a request without a deadline that has waited for `ageing_ns` may overtake:
one row in `AGED_SHARE` goes to such requests, the oldest first. What they take from higher classes is bounded
by that, however many there are. One with a deadline is answered or told by then.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from grandopt.runtime.scheduling.request import Priority, Request

AGED_SHARE = 8
"""One in so many rows goes to requests that have waited for long."""
LOOKED_AT = 32
"""Requests with later deadlines that are looked for; where there are more, the others count as earlier."""
NEVER = 1 << 62
"""A time after all deadlines."""


_Due = tuple[int, int, Request]
"""Deadline, number and request: compared, they are in the order in which they are served."""


class _Class:
    """The requests of one class; `rows` counts those whose callers are gone, too, until they are met."""

    __slots__ = ("disordered", "gone", "ordered", "plain", "plain_rows", "rows")

    def __init__(self) -> None:
        self.plain: deque[Request] = deque()  # without deadline
        # With deadlines. Most come in the order of their deadlines, which then needs no heap.
        self.ordered: deque[_Due] = deque()
        self.disordered: list[_Due] = []
        self.rows = self.plain_rows = 0
        self.gone = 0

    def push(self, request: Request, number: int) -> None:
        self.rows += request.rows or 1
        if not request.deadline:
            self.plain.append(request)
            self.plain_rows += request.rows or 1
        elif not self.ordered or self.ordered[-1][0] <= request.deadline:
            self.ordered.append((request.deadline, number, request))
        else:
            heappush(self.disordered, (request.deadline, number, request))

    def first(self) -> Request | None:
        """The next request that is still waited for."""
        while self.ordered or self.disordered or self.plain:
            if self._from_heap():
                request = self.disordered[0][2]
            else:
                request = self.ordered[0][2] if self.ordered else self.plain[0]
            if not request.future.done():
                return request
            self._pop()
            self.gone += 1
        return None

    def rows_after(self, deadline: int) -> int:
        """How many rows a new request with that deadline would be served before, as far as they are looked
        for."""
        rows = self.plain_rows
        for place in range(1, min(LOOKED_AT, len(self.ordered)) + 1):
            if self.ordered[-place][0] <= deadline:
                break
            rows += self.ordered[-place][2].size
        if len(self.disordered) <= LOOKED_AT:
            rows += sum(item[2].size for item in self.disordered if item[0] > deadline)
        return rows

    def take_late(self, at: float, row_ns: float, own_ns: float) -> tuple[list[Request], float]:
        """Take out those that cannot be in time where their class has its turn at `at`, a row takes `row_ns`
        of the workers' time, and a batch `own_ns` until it is there; returns them, and when the others are
        done."""
        late: list[Request] = []
        kept: deque[_Due] = deque()
        for item in sorted([*self.ordered, *self.disordered]):
            request = item[2]
            if request.future.done():
                self.gone += 1
            elif at + row_ns * request.size + own_ns > request.deadline:
                late.append(request)
            else:
                at += row_ns * request.size
                kept.append(item)
        self.ordered, self.disordered = kept, []
        self.rows = self.plain_rows + sum(item[2].size for item in kept)
        return late, at + row_ns * self.plain_rows

    def take(self, rows: int, taken: list[Request]) -> int:
        """Move the next requests of at most `rows` rows to `taken`; returns how many rows they have.

        One that is next and does not fit ends it, unless nothing was taken before.
        """
        left = rows
        while left > 0:
            request = self.first()
            if request is None or (request.rows > left and taken):
                break
            taken.append(self._pop())
            left -= request.rows or 1
        return rows - left

    def oldest(self) -> Request | None:
        """That of those without deadline which has waited longest."""
        while self.plain:
            if not self.plain[0].future.done():
                return self.plain[0]
            self.pop_plain()
            self.gone += 1
        return None

    def pop_plain(self) -> Request:
        """Take the first of those without deadline."""
        request = self.plain.popleft()
        self.rows -= request.rows or 1
        self.plain_rows -= request.rows or 1
        return request

    def last(self) -> Request | None:
        """That which would be served last, taken out."""
        while self.plain or self.ordered or self.disordered:
            if self.plain:
                request = self.plain.pop()
                self.plain_rows -= request.size
            elif self.disordered and (not self.ordered or max(self.disordered) > self.ordered[-1]):
                latest = max(self.disordered)
                self.disordered.remove(latest)
                heapify(self.disordered)
                request = latest[2]
            else:
                request = self.ordered.pop()[2]
            self.rows -= request.size
            if not request.future.done():
                return request
            self.gone += 1
        return None

    def drain(self) -> list[Request]:
        """Everything that is still waited for, taken out in its order."""
        due = sorted([*self.ordered, *self.disordered])
        found = [*(request for _, _, request in due), *self.plain]
        self.ordered.clear()
        self.disordered.clear()
        self.plain.clear()
        self.rows = self.plain_rows = 0
        alive = [request for request in found if not request.future.done()]
        self.gone += len(found) - len(alive)
        return alive

    def purge(self) -> None:
        """Leave out all whose callers are gone."""
        before = len(self.plain) + len(self.ordered) + len(self.disordered)
        self.plain = deque(request for request in self.plain if not request.future.done())
        self.ordered = deque(item for item in self.ordered if not item[2].future.done())
        self.disordered = [item for item in self.disordered if not item[2].future.done()]
        heapify(self.disordered)
        self.gone += before - len(self.plain) - len(self.ordered) - len(self.disordered)
        self.rows = self.plain_rows = sum(request.size for request in self.plain)
        self.rows += sum(item[2].size for item in [*self.ordered, *self.disordered])

    def _from_heap(self) -> bool:
        heap = self.disordered
        return bool(heap) and (not self.ordered or heap[0] < self.ordered[0])

    def _pop(self) -> Request:
        if self._from_heap():
            request = heappop(self.disordered)[2]
        elif self.ordered:
            request = self.ordered.popleft()[2]
        else:
            return self.pop_plain()
        self.rows -= request.rows or 1
        return request


class RequestQueue:
    """Requests by class and deadline. It belongs to one thread.

    Requests whose futures are done are not waited for: they are left out, and counted in `gone`, when they
    are come upon.
    """

    def __init__(self) -> None:
        self._classes = tuple(_Class() for _ in Priority)
        self._served = 0
        self._blocked = False  # aged requests left too little room for what is next
        self._number = 0

    @property
    def rows(self) -> int:
        """How many rows wait."""
        low, normal, high, critical = self._classes
        return low.rows + normal.rows + high.rows + critical.rows

    @property
    def gone(self) -> int:
        """How many requests were left out because their callers were gone."""
        return sum(waiting.gone for waiting in self._classes)

    def push(self, request: Request) -> None:
        """Put in a request."""
        self._number += 1
        self._classes[request.priority].push(request, self._number)

    def rows_before(self, priority: int, deadline: int = 0) -> int:
        """How many rows would be served before a new request of that class and deadline; 0 is none."""
        rows = sum(waiting.rows for waiting in self._classes[priority:])
        return rows - self._classes[priority].rows_after(deadline) if deadline else rows

    def take_late(self, at: float, row_ns: float, own_ns: float) -> list[Request]:
        """Take out all that cannot be in time where the first has its turn at `at`, a row takes `row_ns` of
        the workers' time, and a batch `own_ns` until it is there."""
        late: list[Request] = []
        for waiting in reversed(self._classes):
            found, at = waiting.take_late(at, row_ns, own_ns)
            late += found
        return late

    def first_deadline(self) -> int:
        """The earliest deadline of those that are next in their classes; NEVER without any."""
        heads = [waiting.first() for waiting in self._classes]
        return min((head.deadline for head in heads if head is not None and head.deadline), default=NEVER)

    def take(self, rows: int, now: int, ageing_ns: int) -> list[Request]:
        """The requests that are next, of at most `rows` rows in all, but at least one where there is any."""
        if self.rows <= rows:
            return self.drain()  # nothing to choose
        taken: list[Request] = []
        left = rows
        self._served += rows
        if self._served >= AGED_SHARE and not self._blocked:
            share = min(self._served // AGED_SHARE, rows)
            self._served %= AGED_SHARE
            left -= self._take_aged(taken, share, now - ageing_ns)
        aged, self._blocked = bool(taken), False
        for waiting in reversed(self._classes):
            left -= waiting.take(left, taken)
            if left <= 0:
                break
            if waiting.first() is not None:  # it does not fit; the next batch is its own
                self._blocked = aged
                break
        return taken

    def displace(self, priority: int) -> Request | None:
        """Take out what would be served last, if it is of a class below `priority`."""
        for waiting in self._classes[:priority]:
            request = waiting.last()
            if request is not None:
                return request
        return None

    def drain(self) -> list[Request]:
        """Take out everything that is still waited for, in the order of the classes."""
        found: list[Request] = []
        for waiting in reversed(self._classes):
            found += waiting.drain()
        return found

    def purge(self) -> None:
        """Leave out all whose callers are gone."""
        for waiting in self._classes:
            waiting.purge()

    def _take_aged(self, taken: list[Request], rows: int, before: int) -> int:
        count = 0
        while count < rows:
            heads = [(waiting.oldest(), waiting) for waiting in self._classes[: Priority.CRITICAL]]
            aged = [
                (head.arrived, index, waiting)
                for index, (head, waiting) in enumerate(heads)
                if head is not None and head.arrived <= before and (head.size <= rows - count or not count)
            ]
            if not aged:
                break
            request = min(aged)[2].pop_plain()
            taken.append(request)
            count += request.size
        return count
