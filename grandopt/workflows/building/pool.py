"""The build processes that a run's agents share, and which build a free one takes next."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from grandopt.artifacts.store import Store
from grandopt.errors import MeasurementError, StorageError
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.built import NOT_BUILT
from grandopt.workflows.building.request import BuildRequest, BuildResult, Deadline, Expected, Variant
from grandopt.workflows.building.sharing import Sharing

BUILDER = "grandopt.workflows.building.worker"
GRACE_S = 10.0
LONGEST_S = 600.0
"""What a build is given that does not end with the budget: a compiler that takes longer hangs."""

GLANCE_S = 0.25
"""How often it is looked at whether another build still runs beside it."""


UNKNOWN = Expected(0.0)
"""Of a build of which nothing is expected: it comes in its turn."""


class Turns:
    """The builds that wait for one of `processes` build processes, in order. Not for several threads at once.

    Slow builds begin early, but never hold the last process while quick ones wait; a single process has the
    quick ones first.
    """

    def __init__(
        self, variants: Sequence[Variant], expected: Mapping[Variant, Expected], processes: int
    ) -> None:
        self.waiting = list(variants)
        self.given_up: list[Variant] = []
        """Those that were not begun because, by what was seen, they would not have been ready in time."""
        self._expected = expected
        self._processes = processes
        self._order = {variant: place for place, variant in enumerate(variants)}

    def take(self, running: Collection[Variant], left_s: float) -> Variant | None:
        """The next build to begin, with so much time left, while others are `running`; None if none is left.

        A slow one that would take longer than what is left, by what this machine has seen, is given up.
        """
        hopeless = [v for v in self.waiting if self._of(v).slow and self._hopeless(v, left_s)]
        self.given_up += hopeless
        self.waiting = [variant for variant in self.waiting if variant not in hopeless]
        for variant in self.waiting:
            if not self._of(variant).slow or self._may_be_slow(running, left_s):
                self.waiting.remove(variant)
                return variant
        return None

    def put_back(self, variants: Collection[Variant]) -> None:
        """Let these wait again, each in its place in the order."""
        self.waiting = sorted({*self.waiting, *variants}, key=self._order.__getitem__)

    def remove(self, variant: Variant) -> bool:
        """Take this one out of its turn; whether it was waiting."""
        there = variant in self.waiting
        if there:
            self.waiting.remove(variant)
        return there

    def _of(self, variant: Variant) -> Expected:
        return self._expected.get(variant, UNKNOWN)

    def _hopeless(self, variant: Variant, left_s: float) -> bool:
        return self._of(variant).seen and self._of(variant).seconds > left_s

    def _may_be_slow(self, running: Collection[Variant], left_s: float) -> bool:
        """Whether a slow build may begin: none that is quick waits, or the other processes can do those."""
        quick = [self._of(variant).seconds for variant in self.waiting if not self._of(variant).slow]
        others = self._processes - 1 - sum(self._of(variant).slow for variant in running)
        return not quick or (others > 0 and sum(quick) <= others * left_s)


class BuildPool:
    """Up to `count` build processes, started when first needed and kept; a dead one is replaced.

    They wait without using the processor between builds, so that measuring is not disturbed. Not for several
    threads at once. Leaving the `with` block ends them, in the middle of a build or not.
    """

    def __init__(self, count: int, module: str = BUILDER) -> None:
        self.count = count
        self._module = module
        self._workers: dict[int, WorkerProcess] = {}

    def __enter__(self) -> BuildPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def build(
        self,
        folder: Path,
        variants: Sequence[Variant],
        store: Store,
        deadline: Deadline,
        on_begin: Callable[[Sequence[Variant], Sequence[BuildResult]], None],
        expected: Mapping[Variant, Expected] | None = None,
        sharing: Sharing | None = None,
    ) -> list[BuildResult]:
        """Build candidates of the agent handed over in `folder`, in order, until the deadline.

        Slow ones, by what is `expected`, are kept from holding all processes (see `Turns`). One that is not
        begun or not ready in time is "not measured", but for the certain one. Returns when no build runs any
        more. `on_begin(running, done)` is called, from the calling thread, whenever a build begins. Builds
        that others make, as `sharing` says, are waited for.
        """
        batch = _Batch(Turns(variants, expected or {}, self.count), deadline, sharing)
        threads = [
            threading.Thread(target=self._work, args=(number, batch, folder, store), daemon=True)
            for number in range(min(self.count, len(variants)))
        ]
        done: list[BuildResult] = []
        running: list[Variant] = []
        for thread in threads:
            thread.start()
        try:
            working = len(threads)
            while working:
                try:
                    news = batch.news.get(timeout=batch.left())
                except queue.Empty:
                    batch.stop()
                    continue
                if isinstance(news, StorageError):
                    raise news
                if news is None:
                    working -= 1
                elif isinstance(news, BuildResult):
                    running.remove(news.variant)
                    done.append(news)
                else:
                    running.append(news)
                    on_begin(running, done)
        except BaseException:
            batch.left_alone = True
            while any(thread.is_alive() for thread in threads):
                batch.stop(everything=True)
                for thread in threads:
                    thread.join(0.05)
            self.close()
            raise
        left = [BuildResult(variant, "not measured", NOT_BUILT, 0.0) for variant in batch.turns.waiting]
        late = [
            BuildResult(variant, "not measured", _hopeless(expected[variant]), 0.0)
            for variant in batch.turns.given_up
            if expected is not None
        ]
        return [*done, *left, *late]

    def close(self) -> None:
        """End all processes. Calling it twice is allowed; building again starts new ones."""
        workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.kill()

    def _work(self, number: int, batch: _Batch, folder: Path, store: Store) -> None:
        """One thread per process: take the next build, wait for it, say what became of it."""
        try:
            while (variant := batch.take(number)) is not None:
                batch.news.put(variant)
                used = self._workers.get(number)
                result = self._build(number, variant, batch, folder, store)
                if result.crashed and used is not None and used is self._workers[number]:
                    # One before it may have damaged it; what happens in a fresh process is its own doing.
                    result = self._build(number, variant, batch, folder, store)
                batch.end(result)
        except StorageError as error:
            batch.news.put(error)
        finally:
            batch.news.put(None)

    def _build(self, number: int, variant: Variant, batch: _Batch, folder: Path, store: Store) -> BuildResult:
        start = time.monotonic()
        label, threads = variant
        request = BuildRequest(folder, label, threads, store.root.absolute(), store.limit_bytes)
        try:
            worker = self._workers.get(number)
            if worker is None or not worker.alive:
                if worker is not None:
                    worker.kill()
                worker = self._workers[number] = WorkerProcess(1, self._module)
            batch.busy[number] = variant, worker
            # The thread that waits for all builds ends this one in time; here is only a last resort.
            answer = worker.ask(request, batch.limit(variant, start))
        except MeasurementError as error:
            seconds = time.monotonic() - start
            if batch.over and variant != batch.deadline.certain:
                words = f"{NOT_BUILT.text}: {seconds:.0f} s were not enough to build it"
                late = replace(NOT_BUILT, text=words)
                return BuildResult(variant, "not measured", late, seconds)
            ended = Reason(ReasonCode.CRASHED, f"while it was built, {error}")
            return BuildResult(variant, "failed", ended, seconds, crashed=True)
        finally:
            batch.busy.pop(number, None)
        batch.usable = batch.usable or answer.status == "verified"
        return BuildResult(variant, answer.status, answer.reason, time.monotonic() - start)


def _hopeless(expected: Expected) -> Reason:
    """Why a build was not begun."""
    words = f"{NOT_BUILT.text}: less was left than the {expected.seconds:.0f} s that it is expected to take"
    return replace(NOT_BUILT, text=words)


@dataclass
class _Batch:
    """What the threads of one `build` share."""

    turns: Turns
    deadline: Deadline
    sharing: Sharing | None = None
    usable: bool = False
    left_alone: bool = False
    """Whether nobody waits for the builds any more: none is begun."""

    def __post_init__(self) -> None:
        self.news: queue.SimpleQueue[Variant | BuildResult | StorageError | None] = queue.SimpleQueue()
        self.busy: dict[int, tuple[Variant, WorkerProcess]] = {}
        self._taking = threading.Lock()
        self._taken: dict[int, Variant] = {}

    def stop(self, *, everything: bool = False) -> None:
        """End what is being built; the threads that wait for it learn that.

        The build that does not end with the budget is spared, unless `everything` is said.
        """
        for variant, worker in list(self.busy.values()):
            if everything or variant != self.deadline.certain:
                worker.stop()

    def left(self) -> float:
        """Seconds until it must be looked again at what runs; at least a moment."""
        if not self.over:
            return max(0.01, self.deadline.until(self.usable) - time.monotonic())
        certain = self.deadline.certain
        alone = certain is not None and {variant for variant, _ in list(self.busy.values())} == {certain}
        return GLANCE_S if alone else 0.01

    def limit(self, variant: Variant, start: float) -> float:
        """Seconds that a build begun at `start` can take."""
        regular = self.deadline.last - start + GRACE_S
        return max(LONGEST_S, regular) if variant == self.deadline.certain else regular

    @property
    def over(self) -> bool:
        """Whether building has stopped."""
        return time.monotonic() >= self.deadline.until(self.usable)

    def take(self, number: int) -> Variant | None:
        """The next build for this process, or None when there is none or no time for one.

        Waits where all that is left is in the making elsewhere.
        """
        certain = self.deadline.certain
        while True:
            with self._taking:
                self._taken.pop(number, None)
                if self.left_alone:
                    return None
                elsewhere = False
                if not self.over:
                    found, elsewhere = self._next()
                else:
                    found = certain if certain is not None and self.turns.remove(certain) else None
                if found is not None:
                    self._taken[number] = found
                if found is not None or not elsewhere:
                    return found
            time.sleep(GLANCE_S)

    def _next(self) -> tuple[Variant | None, bool]:
        """The next build that is ours to make, and whether any is made elsewhere."""
        theirs: list[Variant] = []
        left = self.deadline.until(self.usable) - time.monotonic()
        while (found := self.turns.take(list(self._taken.values()), left)) is not None:
            known = "ours" if self.sharing is None else self.sharing.begin(found)
            if known == "ours":
                break
            if isinstance(known, BuildResult):
                self.usable = self.usable or known.status == "verified"
                self.news.put(found)
                self.news.put(known)
            else:
                theirs.append(found)
        self.turns.put_back(theirs)
        return found, bool(theirs)

    def end(self, result: BuildResult) -> None:
        """Say what became of a build, here and to others."""
        if self.sharing is not None:
            self.sharing.end(result)
        self.news.put(result)
