"""What waits for a worker, in the order in which it is to be served.

Higher classes come first. Within a class the earliest deadline comes first (Liu and Layland, "Scheduling
Algorithms for Multiprogramming in a Hard-Real-Time Environment", 1973), then what has none, in the order of
arrival. So that nothing starves, a request that has waited for `ageing_ns` may overtake: of each batch at
least one row and at most `AGED_SHARE` of the rows go to such requests, the oldest first. What they take from
higher classes is bounded by that, however many there are.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from grandopt.runtime.scheduling.request import Priority, Request

AGED_SHARE = 8
"""One in so many rows of a batch goes to requests that have waited for long."""
NEVER = 1 << 62
"""A time after all deadlines."""

CLASSES = tuple(reversed(Priority))
"""In the order in which they are served."""


class _Class:
    """The requests of one class."""

    __slots__ = ("disordered", "ordered", "plain")

    def __init__(self) -> None:
        self.plain: deque[Request] = deque()  # without deadline
        # With deadlines. Most come in the order of their deadlines, which then needs no heap.
        self.ordered: deque[Request] = deque()
        self.disordered: list[tuple[int, int, Request]] = []

    def push(self, request: Request, number: int) -> None:
        if not request.deadline:
            self.plain.append(request)
        elif not self.ordered or self.ordered[-1].deadline <= request.deadline:
            self.ordered.append(request)
        else:
            heappush(self.disordered, (request.deadline, number, request))

    def first(self) -> Request | None:
        """The next request that is still waited for."""
        while self.ordered or self.disordered:
            early = self.disordered and (not self.ordered or self.disordered[0][0] < self.ordered[0].deadline)
            request = self.disordered[0][2] if early else self.ordered[0]
            if not request.future.done():
                return request
            self.pop()
        plain = self.plain
        while plain:
            if not plain[0].future.done():
                return plain[0]
            plain.popleft()
        return None

    def pop(self) -> Request:
        """Take the next request, be it waited for or not; there must be one."""
        if self.disordered and (not self.ordered or self.disordered[0][0] < self.ordered[0].deadline):
            return heappop(self.disordered)[2]
        return self.ordered.popleft() if self.ordered else self.plain.popleft()

    def oldest(self) -> Request | None:
        """That which has waited longest, of those without deadline: the others are late or served first."""
        plain = self.plain
        while plain and plain[0].future.done():
            plain.popleft()
        return plain[0] if plain else None

    def last(self) -> Request | None:
        """That which would be served last, taken out."""
        for waiting in (self.plain, self.ordered):
            while waiting:
                request = waiting.pop()
                if not request.future.done():
                    return request
        while self.disordered:
            latest = max(range(len(self.disordered)), key=lambda i: self.disordered[i][:2])
            request = self.disordered[latest][2]
            self.disordered[latest] = self.disordered[-1]
            self.disordered.pop()
            self.disordered.sort()
            if not request.future.done():
                return request
        return None

    def take(self, rows: int, taken: list[Request]) -> int:
        """Move the next requests of at most `rows` rows to `taken`; returns how many rows they have.

        A request of several rows that is next and does not fit ends it, unless nothing was taken before.
        """
        left = rows
        while self.disordered and left > 0:
            request = self.first()
            if request is None or (request.rows > left and taken):
                return rows - left
            self.pop()
            taken.append(request)
            left -= request.size
        for waiting in (self.ordered, self.plain):
            while waiting and left > 0:
                request = waiting[0]
                if request.rows > left and taken:
                    return rows - left
                waiting.popleft()
                if not request.future.done():
                    taken.append(request)
                    left -= request.rows or 1
        return rows - left

    def drain(self) -> list[Request]:
        """Everything that is still waited for, taken out."""
        found = [*self.ordered, *(request for _, _, request in sorted(self.disordered)), *self.plain]
        self.ordered.clear()
        self.disordered.clear()
        self.plain.clear()
        return [request for request in found if not request.future.done()]


class RequestQueue:
    """Requests by class and deadline, with the rows of those that are still waited for.

    It belongs to one thread. Whoever cancels a request that is in it tells `forget`.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._by_class = tuple(_Class() for _ in Priority)
        self._rows_by_class = [0] * len(Priority)
        self._served = 0
        self._number = 0

    def push(self, request: Request) -> None:
        """Put in a request."""
        self._number += 1
        self._by_class[request.priority].push(request, self._number)
        rows = request.rows or 1
        self.rows += rows
        self._rows_by_class[request.priority] += rows

    def forget(self, request: Request) -> None:
        """The request is no longer waited for: it no longer counts, and will not be taken."""
        self._gone(request.priority, request.size)

    def rows_before(self, priority: int) -> int:
        """How many rows would be served before a new request of that class without a deadline."""
        return sum(self._rows_by_class[priority:])

    def first_deadline(self) -> int:
        """The earliest deadline of those that are next in their classes; NEVER without any."""
        heads = (waiting.first() for waiting in self._by_class)
        return min((head.deadline for head in heads if head is not None and head.deadline), default=NEVER)

    def take(self, rows: int, now: int, ageing_ns: int) -> list[Request]:
        """The requests that are next, of at most `rows` rows in all, but at least one where there is any."""
        if self.rows <= rows:
            return self.drain()  # nothing to choose
        taken: list[Request] = []
        left = rows
        self._served += rows
        if self._served >= AGED_SHARE:
            share = min(self._served // AGED_SHARE, rows)
            self._served %= AGED_SHARE
            left -= self._take_aged(taken, share, now - ageing_ns)
        for priority in CLASSES:
            if left <= 0:
                break
            count = self._by_class[priority].take(left, taken)
            self._gone(priority, count)
            left -= count
        return taken

    def displace(self, priority: int) -> Request | None:
        """Take out what would be served last, if it is of a class below `priority`."""
        for below in range(priority):
            request = self._by_class[below].last()
            if request is not None:
                self._gone(below, request.size)
                return request
        return None

    def drain(self) -> list[Request]:
        """Take out everything that is still waited for, in the order of the classes."""
        found: list[Request] = []
        for priority in CLASSES:
            found += self._by_class[priority].drain()
        self.rows = 0
        self._rows_by_class = [0] * len(Priority)
        return found

    def _take_aged(self, taken: list[Request], rows: int, before: int) -> int:
        count = 0
        while count < rows:
            heads = ((waiting.oldest(), waiting) for waiting in self._by_class[: Priority.CRITICAL])
            aged = [
                (head.arrived, index, waiting)
                for index, (head, waiting) in enumerate(heads)
                if head is not None and head.arrived <= before and (head.size <= rows - count or not count)
            ]
            if not aged:
                break
            request = min(aged)[2].plain.popleft()
            self._gone(request.priority, request.size)
            taken.append(request)
            count += request.size
        return count

    def _gone(self, priority: int, rows: int) -> None:
        self.rows -= rows
        self._rows_by_class[priority] -= rows
