"""The way of one request through the stages of a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from grandopt.errors import AgentFailed, DeadlineExceeded, GrandoptError, Overloaded, named_line
from grandopt.runtime.scheduling.pipelines.gather import Slots
from grandopt.runtime.scheduling.pipelines.step import Outputs, Step
from grandopt.runtime.scheduling.signal import Signal


class Passage:
    """Runs each stage as soon as those that it needs have ended.

    A stage beside which nothing else runs is awaited by the caller's own task; of several, each is a future,
    and the caller's task goes on when one of them ends. The first error ends the passage: the stages that
    still run are cancelled and awaited, and the error is raised with the name of its stage.

    `after` gives the stages that need a stage, by its slot, and `waits` how many stages each one needs.
    """

    def __init__(
        self,
        pipeline: str,
        after: Sequence[Sequence[Step]],
        waits: Sequence[int],
        slots: Slots,
        priority: int,
        deadline_ns: int,
        clock: Callable[[], int],
    ) -> None:
        self._pipeline, self._after, self._waits = pipeline, after, list(waits)
        self._slots, self._priority, self._deadline, self._clock = slots, priority, deadline_ns, clock
        self._beside: dict[asyncio.Future[Outputs], tuple[Step, int]] = {}
        self._ended: list[asyncio.Future[Outputs]] = []
        self._news = Signal()
        self._alone: Step | None = None

    @property
    def running(self) -> str:
        """The names of the stages that run now, or ran last."""
        names = [step.name for step, _ in self._beside.values()]
        return ", ".join(names) if names or self._alone is None else self._alone.name

    async def run(self, first: Sequence[Step]) -> None:
        """Run all stages, beginning with `first`; what they gave is in the slots then."""
        ready = list(first)
        try:
            while ready or self._beside:
                if len(ready) == 1 and not self._beside:
                    ready = await self._run_alone(ready[0])
                elif ready:
                    ready = self._begin(ready)
                else:
                    if not self._ended:
                        await self._news.wait()
                    ready = self._take_ended()
        finally:
            if self._beside:
                await self._cancel()

    async def _run_alone(self, step: Step) -> list[Step]:
        self._alone = step
        begun = self._in_time(step)
        try:
            outputs = step.begin(self._slots, self._priority, self._deadline, alone=True)
            if not isinstance(outputs, tuple):
                outputs = await outputs
        except Exception as error:  # noqa: BLE001 - a stage is the user's code, which may raise anything
            raise self._failed(step, error) from _cause(error)
        return self._done(step, outputs, begun)

    def _begin(self, ready: list[Step]) -> list[Step]:
        """Begin several stages, those that compute on this thread last; the stages that are ready then."""
        following: list[Step] = []
        for step in sorted(ready, key=lambda step: step.inline):
            begun = self._in_time(step)
            try:
                outputs = step.begin(self._slots, self._priority, self._deadline, alone=False)
            except Exception as error:  # noqa: BLE001 - as above
                raise self._failed(step, error) from _cause(error)
            if isinstance(outputs, tuple):
                following += self._done(step, outputs, begun)
            else:
                self._watch(step, outputs, begun)
        return following

    def _watch(self, step: Step, outputs: Awaitable[Outputs], begun: int) -> None:
        future = asyncio.ensure_future(outputs)
        self._beside[future] = step, begun
        future.add_done_callback(self._on_end)

    def _on_end(self, future: asyncio.Future[Outputs]) -> None:
        self._ended.append(future)
        self._news.wake()

    def _take_ended(self) -> list[Step]:
        ready: list[Step] = []
        while self._ended:
            future = self._ended.pop()
            step, begun = self._beside.pop(future)
            error = AgentFailed("was cancelled") if future.cancelled() else future.exception()
            if error is not None:
                raise self._failed(step, error) from _cause(error)
            ready += self._done(step, future.result(), begun)
        return ready

    def _done(self, step: Step, outputs: Outputs, begun: int) -> list[Step]:
        """Keep what a stage gave; the stages that are ready now."""
        step.latency.record(self._clock() - begun)
        self._slots[step.slot] = outputs
        ready = []
        for following in self._after[step.slot]:
            self._waits[following.slot] -= 1
            if not self._waits[following.slot]:
                ready.append(following)
        return ready

    def _in_time(self, step: Step) -> int:
        """Now, if that is before the deadline."""
        now = self._clock()
        if self._deadline and now >= self._deadline:
            raise DeadlineExceeded(f"{self._pipeline}: the deadline passed before stage {step.name!r}")
        return now

    async def _cancel(self) -> None:
        left = list(self._beside)
        for future in left:
            future.cancel()
        await asyncio.wait(left)
        for future in left:
            if not future.cancelled():
                future.exception()  # nobody else asks, and asyncio would complain

    def _failed(self, step: Step, error: BaseException) -> GrandoptError:
        """The error of a stage, with its name."""
        step.failed += 1
        where = f"{self._pipeline}, stage {step.name!r}"
        if isinstance(error, Overloaded | DeadlineExceeded):
            return type(error)(f"{where}: {error}", error.retry_after_s)
        if isinstance(error, GrandoptError):
            return type(error)(f"{where}: {error}", remedy=error.remedy)
        return AgentFailed(f"{where}: raised {named_line(error)}")


def _cause(error: BaseException) -> BaseException:
    """What the error with the stage's name comes from: for an AgentFailed what the agent raised."""
    return error.__cause__ or error if isinstance(error, AgentFailed) else error
