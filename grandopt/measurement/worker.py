"""The worker process: `python -m grandopt.measurement.worker`, started and spoken to by `process.py`.

Only errors that grandopt raises on purpose are answered. Anything else ends the process with its traceback
on standard error, where the parent finds the reason: after an unexpected error nothing here can be trusted
to be measured again.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from grandopt.errors import GrandoptError, MeasurementError, UnsupportedError
from grandopt.measurement.sampling import Batch, Call, Run, sample, slices, time_calls, timer_overhead_ns
from grandopt.measurement.settings import Settings
from grandopt.signature import Array

if TYPE_CHECKING:
    from grandopt.runtime.executors.base import Executor


def main() -> None:
    """Answer jobs until standard input ends."""
    serve(answer)


def serve(reply: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Answer jobs with `reply` until standard input ends; see `process.py` for the other side."""
    requests, answers = _claim_pipes()
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, jobs), daemon=True).start()
    while True:
        answers.write(json.dumps(reply(json.loads(jobs.get()))).encode() + b"\n")
        answers.flush()


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one job; a refusal is {"error": one line}."""
    try:
        match job["kind"]:
            case "prepare":
                return _prepare(job)
            case "measure":
                return _measure(job)
            case "curve":
                return _curve(job)
            case "operators":
                return _operators(job)
            case "cold":
                return _cold(job)
            case "limit":
                return _limit()
            case other:
                return {"error": f"unknown kind of job {other!r}"}
    except GrandoptError as error:
        return {"error": str(error)}


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to the parent for jobs and answers.

    What libraries print goes to standard error instead, and what they read is empty. The streams are not
    `sys.stdin` and `sys.stdout`, because the interpreter cannot shut down while a thread reads from those.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _listen(stream: BinaryIO, jobs: queue.SimpleQueue[bytes]) -> None:
    """Pass jobs on; at the end of input the parent is gone, so end at once, even in the middle of a call."""
    for line in stream:
        jobs.put(line)
    os._exit(0)


def _prepare(job: Mapping[str, Any]) -> dict[str, Any]:
    for name in job["modules"]:
        importlib.import_module(name)
    return {}


def _measure(job: Mapping[str, Any]) -> dict[str, Any]:
    settings = Settings(**job["settings"])
    batches = slices(_arrays(job["ring"]), settings.batch)
    overhead = timer_overhead_ns()
    folder = Path(job["folder"])
    with ExitStack() as stack:
        runs = [_open(job, subject, batches, settings.threads, stack) for subject in job["subjects"]]
        sample(runs, settings, overhead, job["seed"])
    return {
        "timer_overhead_ns": overhead,
        "subjects": [_written(run, folder, place) for place, run in enumerate(runs)],
    }


def _open(
    job: Mapping[str, Any],
    subject: Mapping[str, Any],
    batches: list[Batch],
    threads: int,
    stack: ExitStack,
    *,
    steps: bool = True,
) -> Run:
    """A loaded subject after its first call; `steps` says that one with state is stepped by a session."""
    clock = time.perf_counter_ns
    try:
        start = clock()
        executor = _loaded(job, subject, threads)
        loaded = clock()
        stack.callback(executor.close)
        call, feed = _steps(executor, batches) if steps else (executor.run, itertools.cycle(batches))
        call(next(feed))
        called = clock()
    except GrandoptError as error:
        raise MeasurementError(f"{subject['label']}: {error}") from error
    return Run(call, feed, load_ns=loaded - start, first_call_ns=called - loaded)


def _steps(executor: Executor, batches: list[Batch]) -> tuple[Call, Iterator[Batch]]:
    """What users call over and over: the agent, or for one with state a session of it, which feeds itself."""
    if not executor.contract.state:
        return executor.run, itertools.cycle(batches)
    session = executor.session(len(batches[0][0]))
    names = [spec.name for spec in executor.signature.inputs]
    places = [names.index(spec.name) for spec in session.observed.inputs]
    return session.run, itertools.cycle([[batch[place] for place in places] for batch in batches])


def _loaded(job: Mapping[str, Any], subject: Mapping[str, Any], threads: int) -> Any:
    return _callable(job["loader"])(Path(subject["path"]), trust=subject["trust"], threads=threads)


def _written(run: Run, folder: Path, place: int) -> dict[str, Any]:
    """Raw samples as files [rounds, samples per round], the rest as plain numbers."""
    np.save(folder / f"calls-{place}.npy", np.asarray(run.call_ns, dtype=np.int64))
    np.save(folder / f"blocks-{place}.npy", np.asarray(run.block_ns, dtype=np.float64))
    return {
        "calls": f"calls-{place}.npy",
        "blocks": f"blocks-{place}.npy",
        "block_calls": run.block_calls,
        "load_ns": run.load_ns,
        "first_call_ns": run.first_call_ns,
        "calls_to_stable": run.calls_to_stable,
        "cpu_ns": run.cpu_ns,
        "cpu_calls": run.cpu_calls,
    }


def _curve(job: Mapping[str, Any]) -> dict[str, Any]:
    from grandopt.measurement.batches import curve

    ring = _arrays(job["ring"])
    with ExitStack() as stack:
        first = slices(ring, 1)[:1]
        # A batch of many sessions is one plain call with their states, so that is what its curve shows.
        opened = [
            _open(job, subject, first, job["threads"], stack, steps=False) for subject in job["subjects"]
        ]
        return {"subjects": curve([run.call for run in opened], ring, dict(job), timer_overhead_ns())}


def _operators(job: Mapping[str, Any]) -> dict[str, Any]:
    batches = slices(_arrays(job["ring"]), 1)
    deadline = time.perf_counter_ns() + job["seconds"] / 2 * 1e9
    with ExitStack() as stack:
        executor = _loaded(job, job["subject"], job["threads"])
        stack.callback(executor.close)
        times = time_calls(executor.run, batches, deadline)
        result = {"call_ns": float(np.median(times[len(times) // 2 :])), "operators": [], "reason": None}
        try:
            found = executor.operators(batches[: len(times)])
        except UnsupportedError as error:
            return result | {"reason": str(error)}
        return result | {"operators": [asdict(item) for item in found]}


def _cold(job: Mapping[str, Any]) -> dict[str, Any]:
    subject = job["subject"]
    inputs = _arrays(job["inputs"])
    with ExitStack() as stack:
        run = _open(job, subject, [inputs], job["threads"], stack)
        import psutil  # only now: it is no part of what the agent needs

        resident = psutil.Process().memory_info().rss
    return {"load_ns": run.load_ns, "first_call_ns": run.first_call_ns, "resident_bytes": resident}


def _limit() -> dict[str, Any]:
    from grandopt.measurement.limit import float32_peak, read_speeds

    return {"speeds": read_speeds(), "peak_gflop_s": float32_peak()}


def _arrays(paths: Sequence[str]) -> list[Array]:
    return [np.load(path, allow_pickle=False) for path in paths]


def _callable(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":
    main()
