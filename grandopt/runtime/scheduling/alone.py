"""Requests that are answered one by one, on the event loop's own thread.

Where suspending a caller costs more than its share of a batch would save, its request is answered at once. So
that a caller in a loop cannot keep the others out, each may take some microseconds like that from one
suspension to the next: a cooperative budget, as the schedulers of Go and Tokio give one to their tasks. Then
it lets the others have their turn, and goes on.
"""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import Callable, Generator, Iterator
from types import coroutine
from typing import Any

import numpy as np

from grandopt.errors import AgentFailed, DeadlineExceeded, InputError, named_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.histogram import FINEST, SHORT
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.counts import BatchCounts
from grandopt.runtime.scheduling.request import Answer
from grandopt.runtime.scheduling.rows import Rows, one_by_one
from grandopt.runtime.scheduling.tap import TapPoint
from grandopt.runtime.scheduling.waiting import Waiting
from grandopt.runtime.scheduling.workers.base import own
from grandopt.signature import Array

SUSPENSION_NS = 2_000
"""What it costs to suspend a caller and to wake it: one whose answer takes less is not suspended."""
BUDGET_NS = 4_000
"""What a caller may compute on the loop's thread from one suspension to the next."""
TURN_NS = 50_000
"""What all callers together may take in a turn of the loop, which each of them waits for: the more there are,
the less each has."""
REQUEST_NS = 2_000
"""What a request costs its caller beside the computing: 1.5 to 3.5 µs on the processors that were tried."""
LOOK, PIECE_NS = 8, 100_000
"""Whoever has many is answered so many, or as many as take so long, before the time is looked at."""
LEAST = 4
"""Requests of a caller in a turn where there are many: it is long then, whatever each has, and costs as much
as one request or two."""
TURNS = 256
"""How many callers may wait for nothing but their turn; more of them are cheaper in a batch, and have to be
admitted."""


class Alone:
    """Answers requests of a small agent one by one, as far as the budget goes; for others it answers none."""

    def __init__(
        self,
        executor: Executor,
        waiting: Waiting,
        counts: BatchCounts,
        shown: TapPoint,
        clock: Callable[[], int],
    ) -> None:
        self.executor = executor
        """May be set."""
        self._waiting = waiting
        self._lane = waiting.lane
        self._counts = counts
        self._taken = counts.at_once
        self._shown = shown
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._budget = self._burst = 0
        self._shares: list[int] = []
        self._single_ns = 0.0
        self._caller: asyncio.Task[Any] | None = None  # whose budget it is
        self._turns = 0  # callers that wait for their turn
        self._draining = False
        self._refilling = False  # a refill is scheduled

    def measured(self, cost: BatchCost, inline: bool) -> None:
        """Go by this cost from now on; `inline` says whether batches are computed on this thread, too."""
        single = cost.single_ns
        worth = inline and single <= cost.per_observation_ns + SUSPENSION_NS
        self._single_ns = single
        self._budget = self._burst = max(1, int(BUDGET_NS / max(single, 1.0))) if worth else 0
        self._shares = [self._share(callers) for callers in range(1, TURNS + 1)]

    def at_once(self, inputs: tuple[Array, ...], deadline_ns: int = 0) -> Answer | None:
        """The answer computed here and now; None when the request has to wait.

        Inputs of the right shape suffice: the agent itself converts, or raises SignatureError.
        """
        caller = current_task(self._loop)
        if caller is not self._caller or caller is None:  # a callback of the loop is somebody else each time
            self._caller, self._budget = caller, self._burst
        if self._budget <= 0 or not self._waiting.room:
            return None
        began = self._clock()
        if deadline_ns and began + self._single_ns > deadline_ns:
            return None
        self._budget -= 1
        if not self._refilling:
            if not self._loop.is_running():
                return None  # of another loop of this thread
            self._refilling = True
            self._loop.call_soon(self._refill)
        answer, ended = self._answered(inputs, began, deadline_ns)
        took, taken = ended - began, self._taken
        if took < SHORT:
            taken.short[took >> FINEST] += 1
            taken.single_ns += took
        else:
            taken.record(took)
        return answer

    @property
    def answers(self) -> bool:
        """Whether it answers any."""
        return self._burst > 0

    def rows_at_once(self, inputs: tuple[Array, ...], over: Callable[[], bool]) -> Rows | None:
        """Outputs [m, *shape] of the first m of these observations [n, *shape], each with the bits of an
        answer of its own, until it is `over`, for whoever sees to it that others have their turn.

        None where the answers do not fit together, and where the agent raised for some of many: whoever asks
        for one of them alone is told.
        """
        run_each = self.executor.run_each
        if run_each is None:
            return one_by_one(self._each_at_once(inputs), over, every=LOOK, batched=False)
        size = max(LOOK, int(PIECE_NS / max(self._single_ns, 1.0)))
        found: list[Answer] = []
        began = self._clock()
        for at in range(0, len(inputs[0]), size):
            piece = [array[at : at + size] for array in inputs]
            try:
                outputs = run_each(piece)
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001 - whatever it is, it is said to one of them
                break
            ended = self._clock()
            self._taken.record_equal(ended - began, len(piece[0]))
            self._shown.show(piece, outputs)
            found.append(outputs)
            began = ended
            if over():
                break
        if len(found) < 2:
            return Rows(found[0]) if found else None
        return Rows(tuple([np.concatenate(column) for column in zip(*found, strict=True)]))

    def _each_at_once(self, inputs: tuple[Array, ...]) -> Iterator[Answer]:
        """The answers of one observation after the other [n, *shape], each computed when it is asked for."""
        began = self._clock()
        for row in _rows(inputs):
            answer, ended = self._answered(row, began, 0)
            self._taken.record(ended - began)
            yield answer
            began = ended

    async def next_turn(self, inputs: tuple[Array, ...], deadline_ns: int = 0) -> Answer | None:
        """As `at_once`, after the other callers had their turn; None when the request has to wait longer."""
        waiting = self._waiting
        if not self._burst or self._lane or not waiting.room or self._turns >= TURNS:
            return None
        if not self._loop.is_running():
            return None
        arrived = self._clock()
        self._turns += 1
        try:
            await _turn()
        finally:
            self._turns -= 1
        if not self._burst or not (waiting.room or self._draining):
            return None  # another agent came, something has to go first, or nothing is answered any more
        began = self._clock()
        if deadline_ns and began + self._single_ns > deadline_ns:
            return None
        self._caller, self._budget = current_task(self._loop), self._shares[self._turns] - 1
        answer, ended = self._answered(inputs, began, deadline_ns)
        counts = self._counts
        counts.in_turn_ns += ended - began
        counts.in_turn.record(ended - arrived)
        return answer

    async def drain(self) -> None:
        """Answer those that wait for their turn, whoever comes now; returns when none does any more."""
        self._draining = True
        while self._turns:
            await _turn()

    def resumed(self) -> None:
        """A caller goes on that waited: it may have some answers at once before it is suspended again."""
        self._caller, self._budget = current_task(self._loop), self._burst

    def _share(self, callers: int) -> int:
        """How many requests each of so many callers may have in a turn of the loop."""
        in_time = int(TURN_NS / (callers * (REQUEST_NS + self._single_ns)))
        return min(self._burst, max(in_time, min(LEAST, callers // 4), 1))

    def _refill(self) -> None:
        """The loop has come round: whoever calls now has its budget."""
        self._refilling = False
        self._caller, self._budget = None, self._burst

    def _answered(self, inputs: tuple[Array, ...], began: int, deadline_ns: int) -> tuple[Answer, int]:
        """The answer, computed now, and the time at which it was there."""
        try:
            answer = self.executor(*inputs)
        except (InputError, KeyboardInterrupt):  # the former says what does not fit
            self._counts.failed += 1
            raise
        except BaseException as error:  # a user's model may raise anything, a CancelledError as well
            self._counts.failed += 1
            raise AgentFailed(f"the agent raised {named_line(error)}") from error
        ended = self._clock()
        if deadline_ns and ended > deadline_ns:
            self._counts.missed += 1
            raise DeadlineExceeded("the deadline passed while the answer was computed")
        outputs: Answer = answer if type(answer) is tuple else (answer,)
        for output in outputs:
            if output.base is not None:
                outputs = own(outputs, inputs)
                break
        shown = self._shown
        if shown.tap is not None:
            if shown.over > 0:
                shown.over -= 1
            else:
                shown.show([array[None] for array in inputs], [output[None] for output in outputs])
        return outputs, ended


def _rows(inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """Observations [*shape] one after the other of a batch [n, *shape]."""
    if all(array.ndim > 1 for array in inputs):
        return zip(*inputs, strict=True)
    # What iterating gives of an array [n] are no arrays.
    return (tuple([array[at, ...] for array in inputs]) for at in range(len(inputs[0])))


@coroutine
def _turn() -> Generator[None]:
    """Let everything else that is ready in the event loop have its turn: what `asyncio.sleep(0)` does."""
    yield
