"""The worker's part of jobs that belong together: a measurement in rounds, or one subject called for answers.

A measurement over several interpreters (see `across.py`) is directed by the parent, which lets each play one
round in turn; one subject is opened for calls when the parent wants its answers (see `remote.py`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.opening import Job, arrays, loaded, opened, written
from grandopt.measurement.sampling import Run, play, prepare, slices, timer_overhead_ns
from grandopt.measurement.settings import Settings
from grandopt.signature import Array


class Session:
    """What a worker keeps between jobs. Every job raises MeasurementError when it comes out of turn."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._runs: list[Run] = []
        self._order = random.Random()
        self._overhead_ns = 0.0
        self._executor: Any = None
        self._held: list[tuple[Array, Array]] = []

    def begin(self, job: Job) -> dict[str, Any]:
        """Load and warm up all subjects; what a round of them will take, and the time that is left."""
        self._close()
        settings = Settings(**job["settings"])
        batches = slices(arrays(job["ring"]), settings.batch)
        self._overhead_ns = timer_overhead_ns()
        self._runs = [
            opened(job, subject, batches, settings.threads, self._stack, into=settings.into)
            for subject in job["subjects"]
        ]
        self._order = random.Random(job["seed"])
        deadline = time.perf_counter_ns() + settings.seconds_per_process * 1e9 * len(self._runs)
        prepare(self._runs, settings, self._overhead_ns, deadline)
        left = max(0.0, deadline - time.perf_counter_ns())
        return {"round_ns": sum(run.round_ns for run in self._runs), "left_ns": left}

    def round(self) -> dict[str, Any]:
        """Every subject plays once, in random order."""
        if not self._runs:
            raise MeasurementError("a round was asked for before the measurement began")
        for run in self._order.sample(self._runs, len(self._runs)):
            play(run)
        return {}

    def end(self, job: Job) -> dict[str, Any]:
        """The samples of all subjects; they are closed."""
        folder = Path(job["folder"])
        answer = {
            "timer_overhead_ns": self._overhead_ns,
            "subjects": [
                written(run, folder, f"{job['prefix']}-{place}") for place, run in enumerate(self._runs)
            ],
        }
        self._close()
        return answer

    def open(self, job: Job) -> dict[str, Any]:
        """Load one subject for calls."""
        self._close()
        self._executor = loaded(job, job["subject"], job["threads"])
        self._stack.callback(self._executor.close)
        return {}

    def call(self, job: Job) -> dict[str, Any]:
        """The outputs of the open subject, as files.

        The parent sees copies, so that it is checked here that a call leaves its inputs and the results of
        the call before as they are.
        """
        if self._executor is None:
            raise MeasurementError("a call was asked for before a subject was opened")
        inputs = arrays(job["inputs"])
        given = [array.copy() for array in inputs]
        outputs = self._executor.run(given)
        if not _same(given, inputs):
            raise MeasurementError("a call writes to its inputs")
        if not all(_same([output], [kept]) for output, kept in self._held):
            raise MeasurementError("a call overwrites the outputs that an earlier call returned")
        self._held = [(output, output.copy()) for output in outputs]
        folder = Path(job["folder"])
        paths = [folder / f"output-{place}.npy" for place in range(len(outputs))]
        for path, output in zip(paths, outputs, strict=True):
            np.save(path, output, allow_pickle=False)
        return {"outputs": [str(path) for path in paths]}

    def _close(self) -> None:
        self._stack.close()
        self._runs, self._executor, self._held = [], None, []


def _same(first: Sequence[Array], second: Sequence[Array]) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True)
    )
