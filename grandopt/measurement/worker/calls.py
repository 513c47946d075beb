"""One subject that the parent calls: opened once, then called for its outputs (see `RemoteExecutor`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.wire.arrays import load_inputs, save_outputs
from grandopt.measurement.wire.calls import CallOutputs, CallSubject, OpenSubject
from grandopt.measurement.wire.codec import Done
from grandopt.measurement.worker.opening import loaded
from grandopt.signature import Array


class CalledSubject:
    """The subject that is open; every request raises MeasurementError when it comes out of turn."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._executor: Any = None
        self._held: list[tuple[Array, Array]] = []

    def open(self, request: OpenSubject) -> Done:
        """Load a subject, in the place of the one before."""
        self._stack.close()
        self._executor, self._held = None, []
        self._executor = loaded(request.subject, request.threads)
        self._stack.callback(self._executor.close)
        return Done()

    def call(self, request: CallSubject) -> CallOutputs:
        """The outputs of the open subject, as files.

        The parent sees copies, so that it is checked here that a call leaves its inputs and the results of
        the call before as they are.
        """
        if self._executor is None:
            raise MeasurementError("a call was asked for before a subject was opened")
        inputs = load_inputs(request.inputs)
        given = [array.copy() for array in inputs]
        outputs = self._executor.run(given)
        if not _same(given, inputs):
            raise MeasurementError("a call writes to its inputs")
        if not all(_same([output], [kept]) for output, kept in self._held):
            raise MeasurementError("a call overwrites the outputs that an earlier call returned")
        self._held = [(output, output.copy()) for output in outputs]
        return CallOutputs(save_outputs(outputs, request.folder, "output"))


called = CalledSubject()
"""That of this process; a worker has one parent."""


def _same(first: Sequence[Array], second: Sequence[Array]) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True)
    )
