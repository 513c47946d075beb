"""Measuring: several artifacts timed side by side, each in the interpreter that it needs."""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.measurement.environment import available_cores
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.result import Measurement, ProcessSamples, SubjectSamples
from grandopt.measurement.ring import MIN_RING, starts
from grandopt.measurement.settings import MIN_ROUNDS, MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.measurement.wire.arrays import load_outputs, save_inputs
from grandopt.measurement.wire.codec import AnswerT, Request
from grandopt.measurement.wire.measure import BeginRounds, EndRounds, Measure, PlayRound, Timings
from grandopt.signature import Array

Progress = Callable[[int, int], None]


def measure(
    subjects: Sequence[Subject],
    ring: Sequence[Array],
    settings: MeasurementSettings,
    pool: WorkerPool,
    *,
    first: int = 0,
    on_progress: Progress | None = None,
) -> Measurement:
    """Time the subjects against each other: same processes, same inputs, same loop, same thread count.

    `ring` holds the inputs that calls rotate through, one array [N * batch, *shape] per input with N at
    least 256 and all N different. (Inputs that are all integers or booleans may repeat: an agent may not
    have 256 different observations.) 255 + batch rows are enough: batches then overlap. In each of
    `settings.processes` processes, one after the other, all subjects are loaded and warmed up, and then take
    turns in rounds of random order; subjects of other interpreters do so in processes of theirs, round by
    round in turn with the others. The processes are those of the pool from number `first` on.

    `on_progress(done, total)` is called after each process, never while one measures. Raises
    MeasurementError for a ring that is too small, more threads than the machine grants, more processes than
    the pool has, a subject that cannot be loaded or called, or a worker that dies or hangs.
    """
    _check(subjects, settings, pool, first)
    distinct = _distinct(ring, settings.batch)
    found: list[list[ProcessSamples]] = [[] for _ in subjects]
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        paths = save_inputs(ring, folder)
        for place in range(first, first + settings.processes):
            request = Measure(
                subjects=tuple(subject.loadable(pool.loader) for subject in subjects),
                ring=paths,
                settings=settings,
                folder=folder,
                seed=f"{settings.seed}:{place}",
            )
            for samples, each in zip(found, _ask(pool, place, request, subjects), strict=True):
                samples.append(each)
            if on_progress is not None:
                on_progress(place + 1 - first, settings.processes)
    return Measurement(
        tuple(
            SubjectSamples(subject.label, tuple(samples))
            for subject, samples in zip(subjects, found, strict=True)
        ),
        settings,
        distinct,
    )


def _check(subjects: Sequence[Subject], settings: MeasurementSettings, pool: WorkerPool, first: int) -> None:
    labels = [subject.label for subject in subjects]
    if not labels:
        raise MeasurementError("there is nothing to measure: give at least one subject")
    if len(set(labels)) != len(labels):
        raise MeasurementError(f"labels must differ, got {', '.join(labels)}")
    if settings.threads > available_cores():
        raise MeasurementError(
            f"{settings.threads} threads are wanted, but this process may use {available_cores()} core(s)"
        )
    if first + settings.processes > pool.processes:
        raise MeasurementError(
            f"{first + settings.processes} worker processes are wanted, but the pool has {pool.processes}: "
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
    pool: WorkerPool, place: int, request: Measure, subjects: Sequence[Subject]
) -> tuple[ProcessSamples, ...]:
    settings = request.settings
    try:
        if any(subject.interpreter is not None for subject in subjects):
            return measure_across(subjects, request, pool, place)
        seconds = settings.seconds_per_process * len(subjects)
        return _samples(request, pool.ask(place, settings.threads, request, seconds))
    except MeasurementError as error:
        labels = ", ".join(subject.label for subject in subjects)
        raise MeasurementError(f"measuring {labels}: {error}") from error


def _samples(request: Measure | EndRounds, answer: Timings) -> tuple[ProcessSamples, ...]:
    found = []
    for timings in answer.subjects:
        calls, blocks = load_outputs(request, (timings.calls, timings.blocks))
        found.append(
            ProcessSamples(
                call_ns=calls,
                block_ns=blocks,
                block_calls=timings.block_calls,
                load_ns=timings.load_ns,
                first_call_ns=timings.first_call_ns,
                calls_to_stable=timings.calls_to_stable,
                cpu_ns=timings.cpu_ns,
                cpu_calls=timings.cpu_calls,
                timer_overhead_ns=answer.timer_overhead_ns,
            )
        )
    return tuple(found)


def measure_across(
    subjects: Sequence[Subject], request: Measure, pool: WorkerPool, place: int
) -> tuple[ProcessSamples, ...]:
    """What `request` asks for, where its subjects live in several interpreters.

    Its rounds pair up over all subjects. The largest of the interpreters' timer overheads stands for all.
    Raises MeasurementError as `WorkerPool.ask`, with the interpreter's path where it is not this one.
    """
    settings = request.settings
    groups: dict[Interpreter | None, list[int]] = {}
    for number, subject in enumerate(subjects):
        groups.setdefault(subject.interpreter, []).append(number)

    def ask(interpreter: Interpreter | None, part: Request[AnswerT]) -> AnswerT:
        seconds = settings.seconds_per_process * len(groups[interpreter])
        try:
            return pool.ask(place, settings.threads, part, seconds, interpreter)
        except MeasurementError as error:
            where = "" if interpreter is None else f"{interpreter.executable}: "
            raise MeasurementError(f"{where}{error}") from error

    begun = [ask(key, _begin(request, numbers)) for key, numbers in groups.items()]
    expected = sum(answer.round_ns for answer in begun)
    order = random.Random(request.seed)
    deadline = time.perf_counter_ns() + sum(answer.left_ns for answer in begun)
    for done in range(settings.rounds):
        if done >= MIN_ROUNDS and time.perf_counter_ns() + expected > deadline:
            break
        for key in order.sample(list(groups), len(groups)):
            ask(key, PlayRound())
    found: dict[int, ProcessSamples] = {}
    for group, (key, numbers) in enumerate(groups.items()):
        end = EndRounds(request.folder, f"{group}", len(numbers))
        found |= zip(numbers, _samples(end, ask(key, end)), strict=True)
    slowest = max(samples.timer_overhead_ns for samples in found.values())
    return tuple(replace(found[number], timer_overhead_ns=slowest) for number in range(len(subjects)))


def _begin(request: Measure, numbers: Sequence[int]) -> BeginRounds:
    subjects = tuple(request.subjects[number] for number in numbers)
    return BeginRounds(subjects, request.ring, request.settings, request.seed)
