"""What several agents hold together: a fresh process that loads them all, serves them, and is looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.opening import arrays, loaded
from grandopt.measurement.process import DEFAULT_LOADER, WorkerProcess, save_inputs
from grandopt.measurement.subject import Subject
from grandopt.signature import Array

TIMEOUT_S = 300.0
PASSES = 4
"""Times that every observation is answered before memory is looked at."""

Outputs = tuple[Array, ...]


@dataclass(frozen=True)
class Residence:
    """Memory of one process in MB (10^6 bytes), as Linux counts it (Documentation/filesystems/proc.rst).

    `rss_mb` is all that is resident, `pss_mb` counts pages shared with n processes as a n-th, so it moves
    with what else runs, and `uss_mb` is what would come free if the process ended. `outputs` are one tuple
    per subject, one array [rows, *shape] per output.
    """

    rss_mb: float
    pss_mb: float
    uss_mb: float
    outputs: tuple[Outputs, ...]


def residence(
    subjects: Sequence[Subject],
    inputs: Sequence[Sequence[Array]],
    threads: int = 1,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Residence:
    """Start a process, load all subjects in it, and call each with every row of its inputs, one at a time.

    `inputs` holds one list per subject, of one array [rows, *shape] per input. Agents take turns,
    `PASSES` times per row. Raises MeasurementError when a subject cannot be loaded or called, where the
    system does not tell what is shared, or after `timeout_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        places = [folder / str(number) for number in range(len(subjects))]
        for place in places:
            place.mkdir()
        job = {
            "kind": "residence",
            "loader": DEFAULT_LOADER,
            "subjects": [subject.to_json() for subject in subjects],
            "inputs": [save_inputs(given, place) for given, place in zip(inputs, places, strict=True)],
            "folder": name,
            "threads": threads,
        }
        worker = WorkerProcess(threads)
        try:
            answer = worker.ask(job, timeout_s)
        finally:
            worker.close()
        try:
            outputs = tuple(tuple(arrays(paths)) for paths in answer["outputs"])
            return Residence(answer["rss"] / 1e6, answer["pss"] / 1e6, answer["uss"] / 1e6, outputs)
        except (KeyError, TypeError, OSError, ValueError) as error:
            raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error


def serve(job: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's part: the answer to a job of `residence`."""
    with ExitStack() as stack:
        executors = []
        for subject in job["subjects"]:
            executor = loaded(job, subject, job["threads"])
            stack.callback(executor.close)
            executors.append(executor)
        given = [arrays(paths) for paths in job["inputs"]]
        results: list[list[Any]] = [[] for _ in executors]
        rows = max(len(inputs[0]) for inputs in given)
        for turn in range(PASSES):
            for row in range(rows):
                for executor, inputs, kept in zip(executors, given, results, strict=True):
                    if row < len(inputs[0]):
                        answer = executor.run([array[row : row + 1] for array in inputs])
                        if turn == 0:
                            kept.append(answer)
        folder = Path(job["folder"])
        outputs = [
            [_saved(np.concatenate(rows), folder / f"output-{place}-{index}.npy") for index, rows in
             enumerate(zip(*kept, strict=True))]
            for place, kept in enumerate(results)
        ]  # fmt: skip
        import psutil  # only now: it is no part of what the agents need

        held = psutil.Process().memory_full_info()
    return {"outputs": outputs, "rss": held.rss, "pss": held.pss, "uss": held.uss}


def _saved(values: Array, path: Path) -> str:
    np.save(path, values)
    return str(path)
