"""An executor whose subject is in a worker process, where it is measured: to verify it there.

Each call goes through files and a pipe. Nobody measures it this way.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from grandopt.errors import MeasurementError
from grandopt.measurement.process.worker_process import DEFAULT_LOADER, WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import load_outputs, save_inputs
from grandopt.measurement.wire.calls import CallSubject, OpenSubject
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
        try:
            self._worker.ask(OpenSubject(subject.loadable(DEFAULT_LOADER), threads), timeout_s)
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        with self._turn:
            folder = Path(self._folder.name)
            request = CallSubject(save_inputs(inputs, folder), folder)
            answer = self._worker.ask(request, self._timeout_s)
            return tuple(load_outputs(request, answer.outputs))

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()
