"""The two figures of a call: warm, and after other work.

Warm is a call after many of its own kind, when the caches hold what the agent keeps there: the figure that
benchmarks of other engines state. After other work is a call before which something else has filled the
caches of the core: what a host sees that does more than call the agent. Each is comparable with its like
alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.measurement.caches import filling
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.statistics import is_stable
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import save_inputs
from grandopt.measurement.wire.warmth import MeasureWarmth, WarmthTimes
from grandopt.signature import Array

TURNS = 3
TURN_S = 0.1
"""Of a subject, which is a third of a second for both of its figures."""


@dataclass(frozen=True)
class Warmth:
    """The median µs of a call of one subject, warm and after other work, which read and wrote so many bytes.

    `steady` is whether the turns agree on both.
    """

    label: str
    warm_us: float
    after_other_work_us: float
    other_work_bytes: int
    steady: bool


def warmth(
    subjects: Sequence[Subject],
    ring: Sequence[Array],
    pool: WorkerPool,
    *,
    threads: int = 1,
    turn_s: float = TURN_S,
) -> tuple[Warmth, ...]:
    """Both figures of the subjects, which take turns of `turn_s` seconds in one process.

    `ring` is that of `measure` at batch 1. Raises MeasurementError for a subject that cannot be loaded or
    called, or a worker that dies or hangs.
    """
    other = filling()
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        request = MeasureWarmth(
            subjects=tuple(subject.loadable(pool.loader) for subject in subjects),
            ring=save_inputs(ring, Path(name)),
            threads=threads,
            other_bytes=other,
            turns=TURNS,
            seconds=turn_s,
        )
        answer = pool.ask(0, threads, request, TURNS * turn_s * len(subjects))
    pairs = zip(subjects, answer.subjects, strict=True)
    return tuple(_figures(subject.label, found, other) for subject, found in pairs)


def _figures(label: str, found: WarmthTimes, other: int) -> Warmth:
    return Warmth(
        label=label,
        warm_us=float(np.median(found.warm_ns)) / 1e3,
        after_other_work_us=float(np.median(found.after_ns)) / 1e3,
        other_work_bytes=other,
        steady=is_stable(found.warm_ns) and is_stable(found.after_ns),
    )
