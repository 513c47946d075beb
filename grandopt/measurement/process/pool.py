"""A pool of worker processes, which the measurements of a run share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process.worker_process import DEFAULT_LOADER, WorkerProcess
from grandopt.measurement.wire.codec import AnswerT, Request
from grandopt.measurement.wire.prepare import Prepare

GRACE_S = 120.0


class WorkerPool:
    """Up to `processes` persistent workers per thread count, started when first asked and used in turn.

    Workers persist so that an engine's library is imported once per worker and not once per measurement; a
    new thread count needs new ones, because libraries read it when they start. Never are two busy at the
    same time: they would disturb each other. A worker that died is replaced at the next request.

    `loader` is what opens artifacts in the worker (see `Loadable`). `grace_s` is what a request may take
    beyond its own measuring time, for imports, loading and first calls.

    Thread safety: requests from several threads are answered one after the other. Leaving the `with` block,
    by an exception or not, ends all workers.
    """

    def __init__(self, processes: int = 3, *, loader: str = DEFAULT_LOADER, grace_s: float = GRACE_S) -> None:
        if processes < 1:
            raise MeasurementError(f"a pool needs at least 1 process but got {processes}")
        self.processes = processes
        self.loader = loader
        self.grace_s = grace_s
        self._workers: dict[tuple[Interpreter | None, int, int], WorkerProcess] = {}
        self._starting: list[tuple[WorkerProcess, Prepare]] = []
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
        request: Request[AnswerT],
        seconds: float,
        interpreter: Interpreter | None = None,
    ) -> AnswerT:
        """The answer of worker number `place` of those with `threads` threads, to what takes so many seconds.

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
            return worker.ask(request, seconds + self.grace_s)

    def start(self, threads: int, modules: Sequence[str], count: int | None = None) -> None:
        """Start all workers of a thread count side by side, or the first `count`; does not wait.

        They import `modules`. That takes seconds, in which the caller can do something that measures nothing.
        Whatever comes next, `ask` or `settle`, waits until all are ready.
        """
        with self._turn:
            self._settle()
            request = Prepare(tuple(modules))
            self._starting = [
                (self._worker(threads, place), request) for place in range(count or self.processes)
            ]
            for worker, _ in self._starting:
                worker.send(request)

    def settle(self) -> None:
        """Wait for the workers that are starting; raises MeasurementError when one cannot."""
        with self._turn:
            self._settle()

    def _settle(self) -> None:
        while self._starting:
            worker, request = self._starting.pop()
            worker.answer(request, self.grace_s)

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
