"""A subject in a worker process, called from here like any other executor: to verify it where it is measured.

Each call goes through files and a pipe. Nobody measures it this way.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from grandopt.errors import MeasurementError
from grandopt.measurement.opening import arrays
from grandopt.measurement.process import DEFAULT_LOADER, WorkerProcess, save_inputs
from grandopt.measurement.subject import Subject
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature


class RemoteExecutor(Executor):
    """A subject, open in a process of its own until `close`.

    Raises MeasurementError when it cannot be opened or called there, or takes longer than `timeout_s` (one
    call: an engine that compiles does so at its first).
    """

    def __init__(
        self,
        subject: Subject,
        signature: Signature,
        contract: Contract | None = None,
        *,
        threads: int = 1,
        timeout_s: float = 120.0,
    ) -> None:
        super().__init__(signature, contract)
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="grandopt-")
        try:
            self._worker = WorkerProcess(threads, interpreter=subject.interpreter)
        except MeasurementError:
            self._folder.cleanup()
            raise
        job = {"kind": "open", "subject": subject.to_json(), "threads": threads, "loader": DEFAULT_LOADER}
        try:
            self._worker.ask(job, timeout_s)
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        with self._turn:
            folder = Path(self._folder.name)
            job = {"kind": "call", "inputs": save_inputs(inputs, folder), "folder": self._folder.name}
            answer = self._worker.ask(job, self._timeout_s)
            try:
                return tuple(arrays(answer["outputs"]))
            except (KeyError, TypeError, ValueError, OSError) as error:
                raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()
