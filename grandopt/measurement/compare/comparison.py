"""A comparison of two artifacts, over as many fresh processes as it takes to decide.

Before each process both artifacts are copied anew, the baseline twice: where a file's pages come to lie in
memory moves the speed of the code in them, and stays the same as long as the system keeps the file. The
second copy of the baseline is the A/A comparison (see `sequential.py`).
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.cold import ColdStart, cold_start
from grandopt.measurement.compare.sequential import FEWEST, MOST, Judgement, PairedEvidence, judge, looks
from grandopt.measurement.environment import available_cores
from grandopt.measurement.process.worker_process import DEFAULT_LOADER, WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import Paths, save_inputs
from grandopt.measurement.wire.pair import ComparePair, PairTimes
from grandopt.signature import Array

Figure = Literal["p50", "p99", "memory", "cold_start"]
TIMED: tuple[Figure, ...] = ("p50", "p99")
FRESH: tuple[Figure, ...] = ("memory", "cold_start")

BASELINE, CANDIDATE = "baseline", "candidate"
_COPIES = (BASELINE, "baseline again", CANDIDATE)
UNLIMITED_S = 1e9
"""A budget that never ends a comparison."""

_TIMEOUT_S = 180.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """How thoroughly to compare.

    `processes` at most, `seconds` of calls in each (loading, warm-up and the start of the process come on
    top), and `budget_s` for the comparison: no process is begun that would not end in it, except the first
    four. `threads` are those of a call. `loader` opens an artifact, as for a WorkerPool.
    """

    processes: int = MOST
    seconds: float = 0.15
    budget_s: float = 15.0
    threads: int = 1
    seed: int = 0
    loader: str = DEFAULT_LOADER

    def __post_init__(self) -> None:
        if self.processes < FEWEST:
            raise MeasurementError(
                f"a comparison needs at least {FEWEST} processes to know its own noise, got {self.processes}"
            )
        for name in ("seconds", "budget_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise MeasurementError(f"{name} must be a positive number, got {getattr(self, name)}")


@dataclass(frozen=True)
class Compared:
    """One figure: the medians over processes of both sides (µs, MB or ms), and what the evidence says.

    `evidence` holds the raw log ratios. Where there is no judgement, `reason` says why.
    """

    baseline: float | None
    candidate: float | None
    evidence: PairedEvidence | None = None
    judgement: Judgement | None = None
    reason: str | None = None


@dataclass
class _Samples:
    """Per process, one value for each of the three copies."""

    rows: list[tuple[float, float, float]] = field(default_factory=list)
    missing: str | None = None


def compare(
    baseline: Subject,
    candidate: Subject,
    ring: Sequence[Array],
    limits: Mapping[Figure, float],
    plan: Plan,
    *,
    on_progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Figure, Compared]:
    """Compare the figures for which there are limits (fractions by which they may grow), until all are
    decided, or processes or time are used up.

    `ring` holds at least 256 different samples, one array [N, *shape] per input. Figures without any limit
    are neither measured nor returned. Raises MeasurementError for more threads than the machine grants, a
    subject that cannot be loaded or called, or a worker that dies or hangs.
    """
    if plan.threads > available_cores():
        raise MeasurementError(
            f"{plan.threads} threads are wanted, but this process may use {available_cores()} core(s)"
        )
    found: dict[Figure, _Samples] = {figure: _Samples() for figure in limits}
    order = random.Random(plan.seed)
    begin = clock()
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        paths = save_inputs(ring, folder)
        for done in range(1, plan.processes + 1):
            subjects = _copied(baseline, candidate, folder / "copies")
            _add(found, _process(subjects, ring, paths, plan, order, limits))
            if on_progress is not None:
                on_progress(done, plan.processes)
            each = (clock() - begin) / done
            late = done >= FEWEST and clock() - begin + each > plan.budget_s
            if late or (done in looks(plan.processes) and _decided(found, limits, plan.processes)):
                break
    return {figure: _compared(samples, limits[figure], plan.processes) for figure, samples in found.items()}


def _copied(baseline: Subject, candidate: Subject, folder: Path) -> list[Subject]:
    """The three copies, in the place of those before."""
    shutil.rmtree(folder, ignore_errors=True)
    copies = []
    for number, subject in enumerate((baseline, baseline, candidate)):
        place = folder / str(number)
        try:
            shutil.copytree(subject.path, place)
        except (OSError, shutil.Error) as error:
            raise MeasurementError(f"{subject.path}: cannot be copied to be measured: {error}") from error
        copies.append(replace(subject, label=f"{subject.path} ({_COPIES[number]})", path=place))
    return copies


def _process(
    subjects: Sequence[Subject],
    ring: Sequence[Array],
    paths: Paths,
    plan: Plan,
    order: random.Random,
    figures: Collection[Figure],
) -> dict[Figure, tuple[float, float, float] | str]:
    """One more row for each figure, or why there is none."""
    rows: dict[Figure, tuple[float, float, float] | str] = {}
    if any(figure in figures for figure in TIMED):
        request = ComparePair(
            subjects=tuple(subject.loadable(plan.loader) for subject in subjects),
            ring=paths,
            threads=plan.threads,
            seconds=plan.seconds,
            seed=order.getrandbits(64),
            tails="p99" in figures,
        )
        with closing(WorkerProcess(plan.threads)) as worker:
            rows |= _timed(worker.ask(request, _TIMEOUT_S + plan.seconds))
    if any(figure in figures for figure in FRESH):
        places = order.sample(range(len(subjects)), len(subjects))
        first = [array[:1] for array in ring]
        starts = {
            place: cold_start(subjects[place], first, plan.threads, loader=plan.loader) for place in places
        }
        rows |= _started([starts[place] for place in sorted(starts)])
    return rows


def _timed(answer: PairTimes) -> dict[Figure, tuple[float, float, float] | str]:
    blocks = np.asarray(answer.blocks, dtype=np.float64)
    rows: dict[Figure, tuple[float, float, float] | str] = {"p50": _paired(blocks)}
    if answer.tails is not None:
        tails = [tail / 1e3 for tail in answer.tails if tail is not None]
        if len(tails) < len(answer.tails):
            rows["p99"] = f"needs 662 calls in each process, there was time for {answer.calls}"
        else:
            rows["p99"] = (tails[0], tails[1], tails[2])
    return rows


def _paired(blocks: Array) -> tuple[float, float, float]:
    """Times of the three copies in µs whose ratios are the medians over rounds of the ratios in a round."""
    logs = np.log(blocks)
    middle = float(np.median(logs[:, 0]))
    again = middle + float(np.median(logs[:, 1] - logs[:, 0]))
    both = float(np.median(logs[:, 2] - (logs[:, 0] + logs[:, 1]) / 2))
    other = (middle + again) / 2 + both
    return math.exp(middle) / 1e3, math.exp(again) / 1e3, math.exp(other) / 1e3


def _started(starts: Sequence[ColdStart]) -> dict[Figure, tuple[float, float, float] | str]:
    memory = [start.resident_mb for start in starts]
    times = [start.process_ms for start in starts]
    return {"memory": (memory[0], memory[1], memory[2]), "cold_start": (times[0], times[1], times[2])}


def _add(found: Mapping[Figure, _Samples], rows: Mapping[Figure, tuple[float, float, float] | str]) -> None:
    for figure, samples in found.items():
        row = rows[figure]
        if isinstance(row, str):
            samples.missing = row
        else:
            samples.rows.append(row)


def _decided(found: Mapping[Figure, _Samples], limits: Mapping[Figure, float], most: int) -> bool:
    return all(
        samples.missing is not None
        or judge(_evidence(samples), limits[figure], most).outcome != "inconclusive"
        for figure, samples in found.items()
    )


def _compared(samples: _Samples, limit: float, most: int) -> Compared:
    if samples.missing is not None:
        return Compared(None, None, reason=samples.missing)
    first, again, other = (np.asarray(column) for column in zip(*samples.rows, strict=True))
    evidence = _evidence(samples)
    return Compared(
        baseline=float(np.median(np.sqrt(first * again))),
        candidate=float(np.median(other)),
        evidence=evidence,
        judgement=judge(evidence, limit, most),
    )


def _evidence(samples: _Samples) -> PairedEvidence:
    logs = np.log(np.asarray(samples.rows))
    change = logs[:, 2] - (logs[:, 0] + logs[:, 1]) / 2
    return PairedEvidence(tuple(change.tolist()), tuple((logs[:, 1] - logs[:, 0]).tolist()))
