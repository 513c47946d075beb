"""The worker's part of opening a subject, and of writing down what was measured of it."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError, MeasurementError
from grandopt.measurement.sampling import Batch, Call, Run
from grandopt.signature import Array

Job = Mapping[str, Any]


def opened(
    job: Job, subject: Job, batches: list[Batch], threads: int, stack: ExitStack, *, into: bool = False
) -> Run:
    """A job's subject, loaded and called once; `stack` will close it.

    With `into` it is called through `run_into`. Raises MeasurementError when it cannot be loaded or called.
    """
    clock = time.perf_counter_ns
    try:
        start = clock()
        executor = loaded(job, subject, threads)
        ready = clock()
        stack.callback(executor.close)
        executor.run(batches[0])
        called = clock()
        call = _into(executor, batches[0]) if into else executor.run
    except GrandoptError as error:
        raise MeasurementError(f"{subject['label']}: {error}") from error
    feed = itertools.islice(itertools.cycle(batches), 1, None)
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
