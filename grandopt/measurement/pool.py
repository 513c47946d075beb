"""The worker processes that measurements share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process import DEFAULT_LOADER, WorkerProcess

GRACE_S = 120.0


class WorkerPool:
    """Up to `processes` persistent workers per thread count, started when first asked and used in turn.

    Workers persist so that an engine's library is imported once per worker and not once per measurement; a
    new thread count needs new ones, because libraries read it when they start. Never are two busy at the
    same time: they would disturb each other. A worker that died is replaced at the next job.

    `loader` is the "module:callable" that opens an artifact in the worker, called as
    `load(path, trust=…, threads=…)`. `grace_s` is what a job may take beyond its own measuring time, for
    imports, loading and first calls.

    Thread safety: jobs from several threads run one after the other. Leaving the `with` block, by an
    exception or not, ends all workers.
    """

    def __init__(self, processes: int = 3, *, loader: str = DEFAULT_LOADER, grace_s: float = GRACE_S) -> None:
        if processes < 1:
            raise MeasurementError(f"a pool needs at least 1 process but got {processes}")
        self.processes = processes
        self.loader = loader
        self.grace_s = grace_s
        self._workers: dict[tuple[Interpreter | None, int, int], WorkerProcess] = {}
        self._starting: list[WorkerProcess] = []
        self._turn = threading.Lock()
        self._closed = False

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(
        self,
        place: int,
        threads: int,
        job: Mapping[str, Any],
        seconds: float,
        interpreter: Interpreter | None = None,
    ) -> dict[str, Any]:
        """The answer of worker number `place` of those with `threads` threads to a job of so many seconds.

        Workers of another `interpreter` are others.

        Raises MeasurementError for a place outside the pool, a closed pool, and as `WorkerProcess.ask`.
        """
        if not 0 <= place < self.processes:
            raise MeasurementError(
                f"{place + 1} worker processes are wanted, but the pool has {self.processes}: make it larger"
            )
        with self._turn:
            self._settle()
            worker = self._worker(threads, place, interpreter)
            return worker.ask({**job, "loader": self.loader}, seconds + self.grace_s)

    def start(self, threads: int, modules: Sequence[str]) -> None:
        """Start all workers of a thread count side by side and let them import `modules`; does not wait.

        Importing takes seconds, in which the caller can do something that measures nothing. Whatever comes
        next, `ask` or `settle`, waits until all are ready.
        """
        with self._turn:
            self._settle()
            self._starting = [self._worker(threads, place) for place in range(self.processes)]
            for worker in self._starting:
                worker.send({"kind": "prepare", "modules": list(modules)})

    def settle(self) -> None:
        """Wait for the workers that are starting; raises MeasurementError when one cannot."""
        with self._turn:
            self._settle()

    def _settle(self) -> None:
        while self._starting:
            self._starting.pop().answer(self.grace_s)

    def _worker(self, threads: int, place: int, interpreter: Interpreter | None = None) -> WorkerProcess:
        if self._closed:
            raise MeasurementError("the worker pool is closed: make a new one")
        key = (interpreter, threads, place)
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.kill()
            worker = self._workers[key] = WorkerProcess(threads, interpreter=interpreter)
        return worker

    def close(self) -> None:
        """End all workers. Calling it twice is allowed; asking afterwards is not."""
        with self._turn:
            self._closed = True
            self._starting = []
            workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.close()
