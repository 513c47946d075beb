"""Measuring over several interpreters: their workers play one round each in turn, and wait in between.

A worker that waits blocks in a read, so that the processor is the other's. What one interpreter's libraries
leave behind (threads, caches) ends with the untimed calls that begin each stretch, as within one process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.pool import WorkerPool
from grandopt.measurement.sampling import MIN_ROUNDS
from grandopt.measurement.settings import Settings
from grandopt.measurement.subject import Subject

Groups = dict[Interpreter | None, list[int]]


def measured_across(
    subjects: Sequence[Subject], job: Mapping[str, Any], settings: Settings, pool: WorkerPool, place: int
) -> dict[str, Any]:
    """The answer to a job of the kind "measure" whose subjects live in several interpreters.

    Its rounds pair up over all subjects. The largest of the interpreters' timer overheads stands for all.
    Raises MeasurementError as `WorkerPool.ask`, with the interpreter's path where it is not this one.
    """
    groups: Groups = {}
    for number, subject in enumerate(subjects):
        groups.setdefault(subject.interpreter, []).append(number)

    def ask(interpreter: Interpreter | None, fields: Mapping[str, Any]) -> dict[str, Any]:
        seconds = settings.seconds_per_process * len(groups[interpreter])
        try:
            return pool.ask(place, settings.threads, fields, seconds, interpreter)
        except MeasurementError as error:
            where = "" if interpreter is None else f"{interpreter.executable}: "
            raise MeasurementError(f"{where}{error}") from error

    begun = [ask(key, _begin(job, subjects, numbers)) for key, numbers in groups.items()]
    try:
        expected = sum(float(answer["round_ns"]) for answer in begun)
        left = sum(float(answer["left_ns"]) for answer in begun)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error
    order = random.Random(job["seed"])
    deadline = time.perf_counter_ns() + left
    for done in range(settings.rounds):
        if done >= MIN_ROUNDS and time.perf_counter_ns() + expected > deadline:
            break
        for key in order.sample(list(groups), len(groups)):
            ask(key, {"kind": "round"})
    ended = [
        ask(key, {"kind": "end", "folder": job["folder"], "prefix": f"{number}"})
        for number, key in enumerate(groups)
    ]
    return _joined(list(groups.values()), ended, len(subjects))


def _begin(job: Mapping[str, Any], subjects: Sequence[Subject], numbers: Sequence[int]) -> dict[str, Any]:
    return {**job, "kind": "begin", "subjects": [subjects[number].to_json() for number in numbers]}


def _joined(groups: Sequence[Sequence[int]], ended: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    """The answers as one, with the subjects in their own order."""
    try:
        found: list[Any] = [None] * count
        for numbers, answer in zip(groups, ended, strict=True):
            for number, fields in zip(numbers, answer["subjects"], strict=True):
                found[number] = fields
        return {"timer_overhead_ns": max(answer["timer_overhead_ns"] for answer in ended), "subjects": found}
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"the worker's answer cannot be read: {error!r}") from error
