"""The worker's part of opening a subject, and of writing down what was measured of it."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grandopt.errors import GrandoptError, MeasurementError
from grandopt.measurement.sampling import Batch, Call, Run
from grandopt.signature import Array

if TYPE_CHECKING:
    from grandopt.runtime.executors.base import Executor

Job = Mapping[str, Any]


def opened(
    job: Job,
    subject: Job,
    batches: list[Batch],
    threads: int,
    stack: ExitStack,
    *,
    into: bool = False,
    steps: bool = True,
) -> Run:
    """A job's subject, loaded and called once; `stack` will close it.

    With `into` it is called through `run_into`; else, with `steps`, one with recurrent state through a
    session. Raises MeasurementError when it cannot be loaded or called.
    """
    clock = time.perf_counter_ns
    try:
        start = clock()
        executor = loaded(job, subject, threads)
        ready = clock()
        stack.callback(executor.close)
        call, feed = _steps(executor, batches) if steps and not into else _plain(executor, batches)
        call(next(feed))
        called = clock()
        if into:
            call = _into(executor, batches[0])
    except GrandoptError as error:
        raise MeasurementError(f"{subject['label']}: {error}") from error
    return Run(call, feed, load_ns=ready - start, first_call_ns=called - ready)


def loaded(job: Job, subject: Job, threads: int) -> Any:
    """The executor of a job's subject, from its own loader or the job's."""
    loader = _callable(subject.get("loader") or job["loader"])
    return loader(Path(subject["path"]), trust=subject["trust"], threads=threads)


def arrays(paths: Sequence[str]) -> list[Array]:
    """What `process.save_inputs` wrote."""
    return [np.load(path, allow_pickle=False) for path in paths]


def written(run: Run, folder: Path, name: str) -> dict[str, Any]:
    """Raw samples as files [rounds, samples per round], the rest as plain numbers."""
    np.save(folder / f"calls-{name}.npy", np.asarray(run.call_ns, dtype=np.int64))
    np.save(folder / f"blocks-{name}.npy", np.asarray(run.block_ns, dtype=np.float64))
    return {
        "calls": f"calls-{name}.npy",
        "blocks": f"blocks-{name}.npy",
        "block_calls": run.block_calls,
        "load_ns": run.load_ns,
        "first_call_ns": run.first_call_ns,
        "calls_to_stable": run.calls_to_stable,
        "cpu_ns": run.cpu_ns,
        "cpu_calls": run.cpu_calls,
    }


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
