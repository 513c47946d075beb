"""What is written down while a run goes on: as little work per request as possible."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from grandopt.errors import DeadlineExceeded, Overloaded, named_line
from grandopt.measurement.load.result import Kind, LoadResult, Outcome
from grandopt.signature import Array

NEVER = -1


class Recording:
    """The moments of each request, for one thread.

    `at` gives nanoseconds since the run began. Arrays are of Python's `array`, whose items are written three
    times as fast as those of NumPy's.
    """

    def __init__(self, due_ns: Array, priorities: Array, *, clock_ns: int) -> None:
        self.begin = clock_ns
        self.due = array("q", due_ns.astype(np.int64).tobytes())
        self.priorities = array("B", priorities.astype(np.uint8).tobytes())
        count = len(self.due)
        self.started = array("q", [NEVER]) * count
        self.ended = array("q", [NEVER]) * count
        self.outcomes = bytearray([Outcome.LOST]) * count
        self.errors: Counter[str] = Counter()
        self.first_error: str | None = None

    def add(self, moment: int, priority: int) -> int:
        """Write down a request that is made at `moment`, and give its place."""
        self.due.append(moment)
        self.started.append(moment)
        self.ended.append(NEVER)
        self.priorities.append(priority)
        self.outcomes.append(Outcome.LOST)
        return len(self.due) - 1

    def answered(self, place: int, moment: int) -> None:
        """Its answer is there."""
        self.ended[place] = moment
        self.outcomes[place] = Outcome.ANSWERED

    def raised(self, place: int, moment: int, error: BaseException) -> None:
        """It was refused or failed, as the error's class says."""
        self.ended[place] = moment
        if isinstance(error, Overloaded):
            self.outcomes[place] = Outcome.OVERLOADED
        elif isinstance(error, DeadlineExceeded):
            self.outcomes[place] = Outcome.DEADLINE
        else:
            self.outcomes[place] = Outcome.FAILED
            self.errors[type(error).__name__] += 1
            self.first_error = self.first_error or named_line(error)

    def result(
        self,
        kind: Kind,
        window_ns: tuple[int, int],
        *,
        deadline_ns: int | None,
        rate: float | None = None,
        callers: int | None = None,
    ) -> LoadResult:
        """All of it, frozen."""
        return LoadResult(
            kind=kind,
            due_ns=np.array(self.due, dtype=np.int64),
            started_ns=np.array(self.started, dtype=np.int64),
            ended_ns=np.array(self.ended, dtype=np.int64),
            outcomes=np.frombuffer(bytes(self.outcomes), dtype=np.uint8),
            priorities=np.array(self.priorities, dtype=np.uint8),
            window_ns=window_ns,
            deadline_ns=deadline_ns,
            rate=rate,
            callers=callers,
            errors=dict(self.errors),
            first_error=self.first_error,
        )
