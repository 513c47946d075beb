"""A candidate called on a thread of its own, seldom enough not to be in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from grandopt.errors import SignatureError, named_line
from grandopt.runtime.engine.disagreement import Disagreement
from grandopt.runtime.engine.shadow_report import SideBySide
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.histogram import LatencyHistogram
from grandopt.signature import Array

STRETCH_NS = 1_000_000
"""How long the thread works at a time, about: somebody may wait for the GIL meanwhile."""
MOST_ROWS = 256
LOOK_NS = 15_000
"""What it takes the service's thread to draw an observation and set it aside, about: that counts as work,
too."""
LONGEST_REST_S = 3600.0
TIMED = 4
"""One in so many pieces of work is also given to the live agent, for its times."""


@dataclass
class Findings:
    """Counts of one comparison; they begin anew with each version that answers."""

    disagreement: Disagreement
    compared: int = 0
    disagreed: int = 0
    failed: int = 0
    error: str | None = None
    live: LatencyHistogram = field(default_factory=LatencyHistogram)
    candidate: LatencyHistogram = field(default_factory=LatencyHistogram)
    batches: int = 0
    rows: int = 0
    live_ns: int = 0
    candidate_ns: int = 0

    def times(self) -> SideBySide:
        """The times as figures."""
        return SideBySide(
            self.live.snapshot(),
            self.candidate.snapshot(),
            self.rows / self.batches if self.batches else None,
            self.live_ns / self.rows if self.rows else None,
            self.candidate_ns / self.rows if self.rows else None,
        )


@dataclass(frozen=True)
class Work:
    """Observations with the live agent's answers, and where to count what is found."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    live: Executor
    findings: Findings


class Comparing:
    """Compares pieces of work one at a time on a daemon thread, and rests after each.

    It computes for at most a share `effort` of the time, counted by `spent`: what this thread itself
    computed. Two threads: the one of the engine gives work when `ready`, and may read findings under `lock`;
    a candidate that raises is counted, one that hangs leaves `ready` unset for good. `rows` is how many
    observations one piece should have. `rest` waits for seconds, or until `end`.
    """

    def __init__(
        self,
        name: str,
        candidate: Executor,
        effort: float,
        clock: Callable[[], int] = time.perf_counter_ns,
        spent: Callable[[], int] = time.thread_time_ns,
        rest: Callable[[float], object] | None = None,
    ) -> None:
        self._candidate, self._effort = candidate, effort
        self._clock, self._spent = clock, spent
        self.lock = threading.Lock()
        self.ready = True
        self.rows = 1
        self._done = 0
        self._fixed: int | None = None
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._ended = threading.Event()
        self._rest = rest or self._ended.wait
        self._thread = threading.Thread(target=self._live, name=f"grandopt-shadow-{name}", daemon=True)
        self._thread.start()

    def give(self, work: Work) -> None:
        """Hand over a piece of work; only when `ready`."""
        self.ready = False
        self._work.put(work)

    def end(self) -> None:
        """Let the thread end after the piece that it works on; nobody waits for it. Twice is allowed."""
        self._ended.set()
        self._work.put(None)

    def _live(self) -> None:
        while (work := self._work.get()) is not None and not self._ended.is_set():
            # Not the time that it waited for the GIL, which is long where the service is busy.
            began = self._spent()
            try:
                self._compare(work)
            except Exception as error:  # noqa: BLE001 - a candidate may raise anything; it is on trial
                with self.lock:
                    work.findings.failed += len(work.inputs[0])
                    work.findings.error = named_line(error)
            took, rows = self._spent() - began, len(work.inputs[0])
            self._fit(rows, took)
            del work
            cost = (took + rows * LOOK_NS) / 1e9
            self._rest(min(cost * (1 / self._effort - 1), LONGEST_REST_S))
            self.ready = True

    def _fit(self, rows: int, took: int) -> None:
        """Choose the next piece's size: what is beyond the least that any piece took is the observations'."""
        self._fixed = took if self._fixed is None else min(self._fixed, took)
        each = max(1, (took - self._fixed) // rows)
        self.rows = max(1, min(MOST_ROWS, 4 * self.rows, (STRETCH_NS - self._fixed) // each))

    def _compare(self, work: Work) -> None:
        findings, rows = work.findings, len(work.inputs[0])
        answers, took = self._timed(self._candidate, work.inputs)
        if [array.shape for array in answers] != [array.shape for array in work.outputs]:
            raise SignatureError(
                f"gave shapes {[list(array.shape) for array in answers]}, the live agent "
                f"{[list(array.shape) for array in work.outputs]}"
            )
        # The lock also lets nobody read half of it.
        with self.lock:
            differs = findings.disagreement.rows(work.outputs, answers)
            findings.compared += rows
            findings.disagreed += int(differs.sum())
        self._done += 1
        if self._done % TIMED:
            return
        _, live_took = self._timed(work.live, work.inputs)
        singles = self._singles(work, candidate_first=self._done // TIMED % 2 == 0)
        with self.lock:
            findings.live.record(singles[0])
            findings.candidate.record(singles[1])
            findings.batches += 1
            findings.rows += rows
            findings.live_ns += live_took
            findings.candidate_ns += took

    def _singles(self, work: Work, *, candidate_first: bool) -> tuple[int, int]:
        """The times of the live agent and of the candidate for one observation."""
        one = tuple(array[:1] for array in work.inputs)
        if candidate_first:
            candidate = self._timed(self._candidate, one)[1]
            return self._timed(work.live, one)[1], candidate
        live = self._timed(work.live, one)[1]
        return live, self._timed(self._candidate, one)[1]

    def _timed(self, executor: Executor, inputs: Sequence[Array]) -> tuple[tuple[Array, ...], int]:
        began = self._clock()
        answers = executor.run(inputs)
        return answers, self._clock() - began
