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

Place = tuple[str, int]
"""A candidate's label and a number of threads."""


@dataclass(frozen=True)
class Outcome:
    """How one build ended; "verified" and "refused" ones lie in the store."""

    place: Place
    status: EntryStatus
    reason: str | None
    seconds: float


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
        deadline: float,
        on_begin: Callable[[Sequence[Place], Sequence[Outcome]], None],
    ) -> list[Outcome]:
        """Build candidates of the agent handed over in `folder`, in order, until `deadline` (monotonic).

        One that is not begun or not ready by then is "not measured". Returns when no build runs any more.
        `on_begin(running, done)` is called, from the calling thread, whenever a build begins.
        """
        batch = _Batch(deque(places), deadline)
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
                news = batch.news.get()
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
                for worker in list(self._workers.values()):
                    worker.stop()
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
                start = time.monotonic()
                status, reason = self._build(number, place, batch.deadline, folder, store)
                batch.news.put(Outcome(place, status, reason, time.monotonic() - start))
        finally:
            batch.news.put(None)

    def _build(
        self, number: int, place: Place, deadline: float, folder: Path, store: Store
    ) -> tuple[EntryStatus, str | None]:
        label, threads = place
        job = {
            "folder": str(folder),
            "label": label,
            "threads": threads,
            "store": str(store.root.absolute()),
            "limit_bytes": store.limit_bytes,
        }
        left = max(0.01, deadline - time.monotonic())
        try:
            worker = self._workers.get(number)
            if worker is None or not worker.alive:
                if worker is not None:
                    worker.kill()
                worker = self._workers[number] = WorkerProcess(1, self._module)
            answer = worker.ask(job, left)
            return answer["status"], answer["reason"]
        except MeasurementError as error:
            if time.monotonic() >= deadline:
                return "not measured", f"{BUDGET_USED}: {left:.0f} s were not enough to build it"
            return "failed", f"while it was built, {error}"


@dataclass
class _Batch:
    """What the threads of one `build` share."""

    waiting: deque[Place]
    deadline: float

    def __post_init__(self) -> None:
        self.news: queue.SimpleQueue[Place | Outcome | None] = queue.SimpleQueue()

    def take(self) -> Place | None:
        """The next build, or None when there is none or no time for one."""
        try:
            return self.waiting.popleft() if time.monotonic() < self.deadline else None
        except IndexError:
            return None
