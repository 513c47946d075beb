"""Opening a subject in the worker: loading it, and choosing the call that is timed."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from grandopt.errors import GrandoptError, MeasurementError
from grandopt.measurement.ring import Batch
from grandopt.measurement.wire.loadable import Loadable
from grandopt.measurement.worker.sampling import Call, TimedCalls

if TYPE_CHECKING:
    from grandopt.runtime.executors.base import Executor


def opened(
    subject: Loadable,
    batches: list[Batch],
    threads: int,
    stack: ExitStack,
    *,
    into: bool = False,
    steps: bool = True,
) -> TimedCalls:
    """A subject, loaded and called once; `stack` will close it.

    With `into` it is called through `run_into`; else, with `steps`, one with recurrent state through a
    session. Raises MeasurementError when it cannot be loaded or called.
    """
    clock = time.perf_counter_ns
    try:
        start = clock()
        executor = loaded(subject, threads)
        ready = clock()
        stack.callback(executor.close)
        call, feed = _steps(executor, batches) if steps and not into else _plain(executor, batches)
        call(next(feed))
        called = clock()
        if into:
            call = _into(executor, batches[0])
    except GrandoptError as error:
        raise MeasurementError(f"{subject.label}: {error}") from error
    return TimedCalls(call, feed, load_ns=ready - start, first_call_ns=called - ready)


def loaded(subject: Loadable, threads: int) -> Any:
    """The executor that the subject's loader makes of it."""
    return _callable(subject.loader)(subject.path, trust=subject.trust, threads=threads)


def _plain(executor: Executor, batches: list[Batch]) -> tuple[Call, Iterator[Batch]]:
    return executor.run, itertools.cycle(batches)


def _steps(executor: Executor, batches: list[Batch]) -> tuple[Call, Iterator[Batch]]:
    """What users call over and over: the agent, or for one with state a session of it, which feeds itself."""
    if not executor.contract.state:
        return _plain(executor, batches)
    session = executor.session(len(batches[0][0]))
    names = [spec.name for spec in executor.signature.inputs]
    places = [names.index(spec.name) for spec in session.observed.inputs]
    return session.run, itertools.cycle([[batch[place] for place in places] for batch in batches])


def _into(executor: Any, batch: Batch) -> Call:
    """`run_into` as a function of the inputs alone; it must give what `run` gives, bit for bit."""
    expected = executor.run(batch)
    outputs = tuple(np.empty_like(output) for output in expected)
    run_into = executor.run_into
    run_into(batch, outputs)
    if any(given.tobytes() != wanted.tobytes() for given, wanted in zip(outputs, expected, strict=True)):
        raise MeasurementError("run_into gives another result than run")

    def call(given: Batch) -> None:
        run_into(given, outputs)

    return call


def _callable(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found
