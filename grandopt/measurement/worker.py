"""The worker process: `python -m grandopt.measurement.worker`, started and spoken to by `process.py`.

Only errors that grandopt raises on purpose are answered. Anything else ends the process with its traceback
on standard error, where the parent finds the reason: after an unexpected error nothing here can be trusted
to be measured again.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from grandopt.errors import GrandoptError, UnsupportedError
from grandopt.measurement.opening import arrays, loaded, opened, written
from grandopt.measurement.sampling import sample, slices, time_calls, timer_overhead_ns
from grandopt.measurement.session import Session
from grandopt.measurement.settings import Settings

if TYPE_CHECKING:
    pass


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


_session = Session()
"""This process's; a worker has one parent."""


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one job; a refusal is {"error": one line}."""
    try:
        match job["kind"]:
            case "prepare":
                return _prepare(job)
            case "measure":
                return _measure(job)
            case "begin":
                return _session.begin(job)
            case "round":
                return _session.round()
            case "end":
                return _session.end(job)
            case "open":
                return _session.open(job)
            case "call":
                return _session.call(job)
            case "curve":
                return _curve(job)
            case "operators":
                return _operators(job)
            case "pair":
                return _pair(job)
            case "cold":
                return _cold(job)
            case "residence":
                from grandopt.measurement.residence import serve as residence

                return residence(job)
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
    batches = slices(arrays(job["ring"]), settings.batch)
    overhead = timer_overhead_ns()
    folder = Path(job["folder"])
    with ExitStack() as stack:
        runs = [
            opened(job, subject, batches, settings.threads, stack, into=settings.into)
            for subject in job["subjects"]
        ]
        sample(runs, settings, overhead, job["seed"])
    return {
        "timer_overhead_ns": overhead,
        "subjects": [written(run, folder, str(place)) for place, run in enumerate(runs)],
    }


def _curve(job: Mapping[str, Any]) -> dict[str, Any]:
    from grandopt.measurement.batches import curve

    ring = arrays(job["ring"])
    with ExitStack() as stack:
        first = slices(ring, 1)[:1]
        # A batch of many sessions is one plain call with their states, so that is what its curve shows.
        calls = [
            opened(job, subject, first, job["threads"], stack, steps=False) for subject in job["subjects"]
        ]
        return {"subjects": curve([run.call for run in calls], ring, dict(job), timer_overhead_ns())}


def _operators(job: Mapping[str, Any]) -> dict[str, Any]:
    batches = slices(arrays(job["ring"]), 1)
    deadline = time.perf_counter_ns() + job["seconds"] / 2 * 1e9
    with ExitStack() as stack:
        executor = loaded(job, job["subject"], job["threads"])
        stack.callback(executor.close)
        times = time_calls(executor.run, batches, deadline)
        result = {"call_ns": float(np.median(times[len(times) // 2 :])), "operators": [], "reason": None}
        try:
            found = executor.operators(batches[: len(times)])
        except UnsupportedError as error:
            return result | {"reason": str(error)}
        return result | {"operators": [asdict(item) for item in found]}


def _pair(job: Mapping[str, Any]) -> dict[str, Any]:
    from grandopt.measurement.paired import pair

    return pair(job)


def _cold(job: Mapping[str, Any]) -> dict[str, Any]:
    subject = job["subject"]
    inputs = arrays(job["inputs"])
    with ExitStack() as stack:
        run = opened(job, subject, [inputs], job["threads"], stack)
        import psutil  # only now: it is no part of what the agent needs

        resident = psutil.Process().memory_info().rss
    return {"load_ns": run.load_ns, "first_call_ns": run.first_call_ns, "resident_bytes": resident}


def _limit() -> dict[str, Any]:
    from grandopt.measurement.limit import float32_peak, read_speeds

    return {"speeds": read_speeds(), "peak_gflop_s": float32_peak()}


if __name__ == "__main__":
    main()
