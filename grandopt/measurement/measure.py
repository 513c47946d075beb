"""Measuring several artifacts side by side."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.across import measured_across
from grandopt.measurement.environment import available_cores
from grandopt.measurement.pool import WorkerPool
from grandopt.measurement.process import save_inputs
from grandopt.measurement.result import Measurement, ProcessSamples, SubjectSamples
from grandopt.measurement.sampling import MIN_RING, starts
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject
from grandopt.signature import Array

Progress = Callable[[int, int], None]


def measure(
    subjects: Sequence[Subject],
    ring: Sequence[Array],
    settings: Settings,
    pool: WorkerPool,
    *,
    on_progress: Progress | None = None,
) -> Measurement:
    """Time the subjects against each other: same processes, same inputs, same loop, same thread count.

    `ring` holds the inputs that calls rotate through, one array [N * batch, *shape] per input with N at
    least 256 and all N different. (Inputs that are all integers or booleans may repeat: an agent may not
    have 256 different observations.) 255 + batch rows are enough: batches then overlap. In each of
    `settings.processes` processes, one after the other, all subjects are loaded and warmed up, and then take
    turns in rounds of random order; subjects of other interpreters do so in processes of theirs, round by
    round in turn with the others.

    `on_progress(done, total)` is called after each process, never while one measures. Raises
    MeasurementError for a ring that is too small, more threads than the machine grants, more processes than
    the pool has, a subject that cannot be loaded or called, or a worker that dies or hangs.
    """
    _check(subjects, settings, pool)
    distinct = _distinct(ring, settings.batch)
    found: list[list[ProcessSamples]] = [[] for _ in subjects]
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        paths = save_inputs(ring, folder)
        for place in range(settings.processes):
            job = {
                "kind": "measure",
                "subjects": [subject.to_json() for subject in subjects],
                "ring": paths,
                "settings": asdict(settings),
                "folder": name,
                "seed": f"{settings.seed}:{place}",
            }
            answer = _ask(pool, place, job, subjects, settings)
            for samples, each in zip(found, _samples(answer, folder, len(subjects)), strict=True):
                samples.append(each)
            if on_progress is not None:
                on_progress(place + 1, settings.processes)
    return Measurement(
        tuple(
            SubjectSamples(subject.label, tuple(samples))
            for subject, samples in zip(subjects, found, strict=True)
        ),
        settings,
        distinct,
    )


def _check(subjects: Sequence[Subject], settings: Settings, pool: WorkerPool) -> None:
    labels = [subject.label for subject in subjects]
    if not labels:
        raise MeasurementError("there is nothing to measure: give at least one subject")
    if len(set(labels)) != len(labels):
        raise MeasurementError(f"labels must differ, got {', '.join(labels)}")
    if settings.threads > available_cores():
        raise MeasurementError(
            f"{settings.threads} threads are wanted, but this process may use {available_cores()} core(s)"
        )
    if settings.processes > pool.processes:
        raise MeasurementError(
            f"{settings.processes} worker processes are wanted, but the pool has {pool.processes}: "
            f"make it larger"
        )


def _distinct(ring: Sequence[Array], batch: int) -> int:
    """How many different calls the ring holds; raises MeasurementError if that is not enough."""
    rows = {array.shape[0] for array in ring}
    if len(rows) != 1:
        raise MeasurementError(
            f"the ring needs one array per input, equally long, got lengths {sorted(rows)}"
        )
    places = starts(rows.pop(), batch)
    count = len(places)
    digests = set()
    for place in places:
        digest = hashlib.blake2b(digest_size=16)
        for array in ring:
            digest.update(np.ascontiguousarray(array[place : place + batch]).tobytes())
        digests.add(digest.digest())
    continuous = any(array.dtype.kind == "f" for array in ring)
    enough = len(digests) if continuous else count
    if enough < MIN_RING:
        raise MeasurementError(
            f"measuring rotates through at least {MIN_RING} distinct samples (times the batch size), "
            f"but the ring holds {enough}: record more observations, or let them be drawn"
        )
    return len(digests)


def _ask(
    pool: WorkerPool, place: int, job: dict[str, Any], subjects: Sequence[Subject], settings: Settings
) -> dict[str, Any]:
    try:
        if any(subject.interpreter is not None for subject in subjects):
            return measured_across(subjects, job, settings, pool, place)
        return pool.ask(place, settings.threads, job, settings.seconds_per_process * len(subjects))
    except MeasurementError as error:
        labels = ", ".join(subject.label for subject in subjects)
        raise MeasurementError(f"measuring {labels}: {error}") from error


def _samples(answer: dict[str, Any], folder: Path, count: int) -> list[ProcessSamples]:
    try:
        found = [
            ProcessSamples(
                call_ns=np.load(folder / fields["calls"], allow_pickle=False),
                block_ns=np.load(folder / fields["blocks"], allow_pickle=False),
                block_calls=fields["block_calls"],
                load_ns=fields["load_ns"],
                first_call_ns=fields["first_call_ns"],
                calls_to_stable=fields["calls_to_stable"],
                cpu_ns=fields["cpu_ns"],
                cpu_calls=fields["cpu_calls"],
                timer_overhead_ns=answer["timer_overhead_ns"],
            )
            for fields in answer["subjects"]
        ]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error
    if len(found) != count:
        raise MeasurementError(f"the worker answered for {len(found)} subjects instead of {count}")
    return found
