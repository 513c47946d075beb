"""The build processes that a run's agents share."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from grandopt.artifacts.store import Store
from grandopt.errors import MeasurementError
from grandopt.measurement.process import WorkerProcess
from grandopt.workflows.entry import BUDGET_USED, EntryStatus

BUILDER = "grandopt.workflows.builder"
GRACE_S = 10.0

Place = tuple[str, int]
"""A candidate's label and a number of threads."""


@dataclass(frozen=True)
class Outcome:
    """How one build ended; "verified" and "refused" ones lie in the store."""

    place: Place
    status: EntryStatus
    reason: str | None
    seconds: float
    crashed: bool = False
    """Whether its process ended, which another time it may not."""


@dataclass(frozen=True)
class Patience:
    """When building stops (monotonic seconds): at `enough`, or while nothing is verified yet, at `last`."""

    enough: float
    last: float

    def until(self, usable: bool) -> float:
        """The moment that holds when a usable candidate is there, or is not."""
        return self.enough if usable else self.last


class Builders:
    """Up to `count` build processes, started when first needed and kept; a dead one is replaced.

    They wait without using the processor between builds, so that measuring is not disturbed. Not for several
    threads at once. Leaving the `with` block ends them, in the middle of a build or not.
    """

    def __init__(self, count: int, module: str = BUILDER) -> None:
        self.count = count
        self._module = module
        self._workers: dict[int, WorkerProcess] = {}

    def __enter__(self) -> Builders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def build(
        self,
        folder: Path,
        places: Sequence[Place],
        store: Store,
        patience: Patience,
        on_begin: Callable[[Sequence[Place], Sequence[Outcome]], None],
    ) -> list[Outcome]:
        """Build candidates of the agent handed over in `folder`, in order, as long as there is patience.

        One that is not begun or not ready by then is "not measured". Returns when no build runs any more.
        `on_begin(running, done)` is called, from the calling thread, whenever a build begins.
        """
        batch = _Batch(deque(places), patience)
        threads = [
            threading.Thread(target=self._work, args=(number, batch, folder, store), daemon=True)
            for number in range(min(self.count, len(places)))
        ]
        done: list[Outcome] = []
        running: list[Place] = []
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
                if news is None:
                    working -= 1
                elif isinstance(news, Outcome):
                    running.remove(news.place)
                    done.append(news)
                else:
                    running.append(news)
                    on_begin(running, done)
        except BaseException:
            batch.waiting.clear()
            while any(thread.is_alive() for thread in threads):
                batch.stop()
                for thread in threads:
                    thread.join(0.05)
            self.close()
            raise
        left = [Outcome(place, "not measured", BUDGET_USED, 0.0) for place in batch.waiting]
        return [*done, *left]

    def close(self) -> None:
        """End all processes. Calling it twice is allowed; building again starts new ones."""
        workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.kill()

    def _work(self, number: int, batch: _Batch, folder: Path, store: Store) -> None:
        """One thread per process: take the next build, wait for it, say what became of it."""
        try:
            while (place := batch.take()) is not None:
                batch.news.put(place)
                batch.news.put(self._build(number, place, batch, folder, store))
        finally:
            batch.news.put(None)

    def _build(self, number: int, place: Place, batch: _Batch, folder: Path, store: Store) -> Outcome:
        start = time.monotonic()
        label, threads = place
        job = {
            "folder": str(folder),
            "label": label,
            "threads": threads,
            "store": str(store.root.absolute()),
            "limit_bytes": store.limit_bytes,
        }
        try:
            worker = self._workers.get(number)
            if worker is None or not worker.alive:
                if worker is not None:
                    worker.kill()
                worker = self._workers[number] = WorkerProcess(1, self._module)
            batch.busy[number] = worker
            # The thread that waits for all builds ends this one in time; here is only a last resort.
            answer = worker.ask(job, batch.patience.last - start + GRACE_S)
        except MeasurementError as error:
            seconds = time.monotonic() - start
            if batch.over:
                late = f"{BUDGET_USED}: {seconds:.0f} s were not enough to build it"
                return Outcome(place, "not measured", late, seconds)
            return Outcome(place, "failed", f"while it was built, {error}", seconds, crashed=True)
        finally:
            batch.busy.pop(number, None)
        batch.usable = batch.usable or answer["status"] == "verified"
        return Outcome(place, answer["status"], answer["reason"], time.monotonic() - start)


@dataclass
class _Batch:
    """What the threads of one `build` share."""

    waiting: deque[Place]
    patience: Patience
    usable: bool = False

    def __post_init__(self) -> None:
        self.news: queue.SimpleQueue[Place | Outcome | None] = queue.SimpleQueue()
        self.busy: dict[int, WorkerProcess] = {}

    def stop(self) -> None:
        """End what is being built; the threads that wait for it learn that."""
        for worker in list(self.busy.values()):
            worker.stop()

    def left(self) -> float:
        """Seconds until building stops, as far as that is known now; at least a moment."""
        return max(0.01, self.patience.until(self.usable) - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether building has stopped."""
        return time.monotonic() >= self.patience.until(self.usable)

    def take(self) -> Place | None:
        """The next build, or None when there is none or no time for one."""
        try:
            return None if self.over else self.waiting.popleft()
        except IndexError:
            return None
