"""The worker of the memory benchmark: `python -m grandopt.measurement.serving_worker`, see `process.py`.

A process answers one job, because its memory remembers what was done in it before.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.measurement.opening import arrays
from grandopt.measurement.serving import Server
from grandopt.measurement.worker import serve
from grandopt.runtime.loader import load
from grandopt.runtime.memory.blocks.base import Blocks
from grandopt.runtime.memory.calibration import calibrate
from grandopt.runtime.memory.collector import Collector
from grandopt.runtime.memory.flavour import here
from grandopt.runtime.memory.pauses import Pauses, PauseStats

WARM_UP = 2000
"""Requests before the first that counts."""


def main() -> None:
    """Answer jobs until standard input ends."""
    serve(answer)


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one job; a refusal is {"error": one line}."""
    try:
        match job["kind"]:
            case "pool":
                return asdict(calibrate(_blocks(job["blocks"]), **job["options"]))
            case "tail":
                return _tail(job)
            case other:
                return {"error": f"unknown kind of job {other!r}"}
    except GrandoptError as error:
        return {"error": str(error)}


def _blocks(kind: str) -> Blocks[Any]:
    match kind:
        case "array":
            from grandopt.runtime.memory.blocks.arrays import ArrayBlocks

            return ArrayBlocks()
        case "buffer":
            from grandopt.runtime.memory.blocks.buffers import BufferBlocks

            return BufferBlocks()
        case _:
            from grandopt.runtime.memory.blocks.tensors import TensorBlocks

            return TensorBlocks()


def _tail(job: Mapping[str, Any]) -> dict[str, Any]:
    """Serve with Python's defaults or with the collector; the times of all requests are written to a file."""
    with ExitStack() as stack:
        agent = load(job["artifact"], trust=job["trust"])
        stack.callback(agent.close)
        ring = list(zip(*arrays(job["ring"]), strict=True))
        server = Server(agent, ring, job["sessions"], job["recent"])
        gc.collect()  # both begin without garbage
        tracked, per_request = len(gc.get_objects()), server.objects_per_request()
        alone = statistics.median(server.agent_ns())
        if job["collector"]:
            collector = stack.enter_context(Collector())
            idle: Callable[[], object] = collector.idle
            pauses: Callable[[], tuple[PauseStats, ...]] = partial(_pauses_of, collector)
        else:
            measured = Pauses(time.perf_counter)
            gc.callbacks.append(measured)
            stack.callback(gc.callbacks.remove, measured)
            idle, pauses = _nothing, measured.stats
        thresholds = gc.get_threshold()
        server.serve(WARM_UP, job["burst"], idle)
        before, switches = pauses(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        start = time.perf_counter()
        times = server.serve(job["calls"], job["burst"], idle)
        seconds = time.perf_counter() - start
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        np.save(Path(job["times"]), np.array(times, np.int64))
        return {
            "flavour": here(),
            "tracked": tracked,
            "per_request": per_request,
            "agent_ns": alone,
            "thresholds": thresholds,
            "seconds": seconds,
            "interrupted": switches,
            "collections": _since(before, pauses()),
        }


def _pauses_of(collector: Collector) -> tuple[PauseStats, ...]:
    return collector.stats().pauses


def _nothing() -> None:
    """What Python's defaults do with an idle moment."""


def _since(before: Sequence[PauseStats], after: Sequence[PauseStats]) -> list[dict[str, Any]]:
    """Collections of the measured stretch: generation, whether at an idle moment, number and seconds."""
    then = {(row.generation, row.idle): (row.count, row.seconds) for row in before}
    found = []
    for row in after:
        count, seconds = then.get((row.generation, row.idle), (0, 0.0))
        if row.count > count:
            found.append(
                {
                    "generation": row.generation,
                    "idle": row.idle,
                    "count": row.count - count,
                    "seconds": row.seconds - seconds,
                }
            )
    return found


if __name__ == "__main__":
    main()
