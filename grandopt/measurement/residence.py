"""The residence of several agents: the memory of a fresh process that loads them all and serves them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.process.worker_process import DEFAULT_LOADER, WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import load_outputs, save_inputs
from grandopt.measurement.wire.residence import HoldResidence
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
        request = HoldResidence(
            subjects=tuple(subject.loadable(DEFAULT_LOADER) for subject in subjects),
            inputs=tuple(save_inputs(given, place) for given, place in zip(inputs, places, strict=True)),
            passes=PASSES,
            folder=folder,
            threads=threads,
        )
        with closing(WorkerProcess(threads)) as worker:
            answer = worker.ask(request, timeout_s)
        outputs = tuple(tuple(load_outputs(request, paths)) for paths in answer.outputs)
        return Residence(answer.rss / 1e6, answer.pss / 1e6, answer.uss / 1e6, outputs)
