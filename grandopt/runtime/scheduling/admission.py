"""Whether a request may wait: for the deadline that it has, and for the room that there is."""

from __future__ import annotations

from grandopt.errors import DeadlineExceeded, Overloaded
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.request import fail
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.waiting import Waiting
from grandopt.runtime.scheduling.workers.base import Workers

SMOOTHED = 0.1
"""Weight of the last batch in the observed cost of a row."""
SURGE = 3.0
"""How many times the cost so far the last batch may count for."""
SPARE, LEAST_SPARE, MOST_SPARE = 0.5, 0.1, 0.6
"""Of its time, what must be left over when a request is let in behind others: at first, at least and at most.
Higher classes may come before it, and a machine with other tenants takes twice as long at times."""
MISSES = 0.002
"""The share of requests let in whose deadline may pass: with more of them more time must be left over, with
fewer less."""
STEP = 0.02
"""By how much one miss moves what must be left over. Together with `MISSES` that is the stochastic
approximation of Robbins and Monro (1951)."""
OFTEN = 8
"""What waits is looked through for what is late once in so many times as it has rows, at most."""


class Admission:
    """Refuses what would be late or finds no room, with the time after which to try again."""

    def __init__(self, waiting: Waiting, row_bytes: int, counts: BatchCounts) -> None:
        self._waiting = waiting
        self._row_bytes = row_bytes
        self._counts = counts
        self._rejected = counts.rejected
        self._observed_ns = 0.0
        self._spare = SPARE
        self._until_purge = self._until_look = 0
        self._free_at = 0.0
        self._backlog_at = 0

    def began(self, rows: int, now: int, free_at: float) -> None:
        """A batch of so many rows went to a worker, which is likely to be free again at `free_at`."""
        self._until_purge -= rows
        self._until_look -= rows
        self._free_at = max(free_at, float(now))

    def ended(self, now: int, rows: int) -> None:
        """A batch of so many rows ended; from one end to the next while others wait is what a row costs."""
        if self._backlog_at:
            seen = (now - self._backlog_at) / rows
            if self._observed_ns:  # one interruption is no change of pace
                seen = min(seen, SURGE * self._observed_ns)
            self._observed_ns += SMOOTHED * (seen - self._observed_ns)
        self._backlog_at = now if self._waiting.rows else 0
        self._spare = max(LEAST_SPARE, self._spare - STEP * MISSES * rows)

    def missed(self, requests: int) -> None:
        """The deadlines of so many that were let in cannot be met."""
        self._counts.missed += requests
        self._spare = min(MOST_SPARE, self._spare + STEP * requests)

    def forget(self) -> None:
        """Another agent computes from now on."""
        self._observed_ns = 0.0

    def row_ns(self, cost: BatchCost, workers: int) -> float:
        """What a row more in a batch takes: by the measured cost, or what was seen if slower."""
        return max(cost.per_observation_ns, self._observed_ns * max(1, workers), 1.0)

    def wait_ns(self, rows: int, settings: BatchSettings, cost: BatchCost, workers: int) -> float:
        """How long so many rows keep the workers busy: by the measured cost, or what was seen if slower.

        What was seen is already that of all workers together.
        """
        measured = cost.per_observation_ns * rows + cost.fixed_ns * -(-rows // settings.limit)
        return max(measured / max(1, workers), self._observed_ns * rows)

    def refuse_late(
        self,
        rows: int,
        priority: int,
        deadline: int,
        now: int,
        settings: BatchSettings,
        cost: BatchCost,
        workers: Workers,
    ) -> None:
        """Raise DeadlineExceeded unless the answer is likely to be there at the deadline."""
        before = self._waiting.rows_before(priority, deadline)
        ready = now + cost.of(rows)
        if before:
            ready += self.wait_ns(before, settings, cost, workers.size)
        busy = workers.idle <= 0
        if busy:
            ready += max(0.0, self._free_at - now)
        spare = self._spare * (deadline - now) if before else 0.0
        if ready + spare <= deadline:
            return
        self._rejected["deadline"] += 1
        kept = f", and {100 * self._spare:.0f} % of its time must be left over" if spare else ""
        if deadline <= now:
            raise DeadlineExceeded(
                f"the deadline passed {(now - deadline) / 1e6:.3g} ms before the request came"
            )
        raise DeadlineExceeded(
            f"the deadline is in {(deadline - now) / 1e6:.3g} ms, an answer would take about "
            f"{(ready - now) / 1e6:.3g} ms with {before} rows before it{kept}",
            (ready + spare - deadline) / 1e9 if before or busy else 0.0,
        )

    def tell_late(self, now: int, settings: BatchSettings, cost: BatchCost, workers: int) -> None:
        """Tell those that wait and cannot be in time any more, rather than at their deadlines.

        That others came before them, or that the machine became slower, shows in what waits and in what rows
        were seen to take.
        """
        queue = self._waiting.queue
        rows = queue.rows
        if not rows or self._until_look > 0:
            return
        row_ns, own = self.wait_ns(rows, settings, cost, workers) / rows, cost.of(1)
        if now + rows * row_ns + own <= queue.first_deadline():
            return
        # It looks at all that wait.
        self._until_look = rows // OFTEN
        late = queue.take_late(now, row_ns, own)
        for request in late:
            told = "the deadline passes before its turn would come"
            fail(request.future, DeadlineExceeded(told, rows * row_ns / 1e9))
        self.missed(len(late))

    def make_room(
        self, rows: int, priority: int, settings: BatchSettings, cost: BatchCost, workers: int
    ) -> None:
        """See that `rows` rows more may wait: without callers that are gone, or without one of a lower class.

        Raises Overloaded where there is no room.
        """
        waiting = self._waiting
        if self._until_purge <= 0:
            # It looks at all that wait, and so is due again when as many have been served.
            waiting.purge()
            self._until_purge = waiting.rows
        # First, so that nobody is displaced for a request that finds no room all the same.
        refused = self._full(waiting.rows_before(priority) + rows, settings)
        while (reason := refused or self._full(waiting.rows + rows, settings)) is not None:
            retry = self.wait_ns(waiting.rows, settings, cost, workers) / 1e9
            displaced = None if refused else waiting.through_queue().displace(priority)
            if displaced is None:
                self._rejected[reason] += 1
                raise Overloaded(self._why(rows, reason, settings, retry), retry)
            self._rejected["displaced"] += 1
            displaced.future.set_exception(
                Overloaded("the queue is full, and a request of a higher class came", retry)
            )

    def _full(self, rows: int, settings: BatchSettings) -> str | None:
        if rows > settings.queue_rows:
            return "rows"
        return "bytes" if rows * self._row_bytes > settings.queue_bytes else None

    def _why(self, rows: int, reason: str, settings: BatchSettings, retry: float) -> str:
        limit = settings.queue_rows if reason == "rows" else settings.queue_bytes
        if self._full(rows, settings):
            return (
                f"{rows} rows ({rows * self._row_bytes} bytes) at once are more than the {limit} {reason} "
                f"that may wait; ask for fewer, or let more wait"
            )
        waiting = self._waiting.rows
        return (
            f"{waiting} rows ({waiting * self._row_bytes} bytes) wait already, at most {limit} {reason} may; "
            f"try again in {retry:.3g} s"
        )
