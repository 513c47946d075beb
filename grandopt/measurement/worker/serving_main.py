"""The program of the memory benchmark's worker: `python -m grandopt.measurement.worker.serving_main`.

A process answers one request, because its memory remembers what was done in it before.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from grandopt.measurement.wire.arrays import load_inputs
from grandopt.measurement.wire.codec import Asked
from grandopt.measurement.wire.serving import BlocksKind, CalibratePool, Collections, ServeTail, TailTimes
from grandopt.measurement.worker.pipe import serve
from grandopt.measurement.worker.serving import Server
from grandopt.runtime.loader import load
from grandopt.runtime.memory.blocks.base import Blocks
from grandopt.runtime.memory.break_even import PoolBreakEven
from grandopt.runtime.memory.calibration import calibrate
from grandopt.runtime.memory.collector import Collector
from grandopt.runtime.memory.gc_kind import current_gc_kind
from grandopt.runtime.memory.pauses import Pauses, PauseStats

WARM_UP = 2000
"""Requests before the first that counts."""


def answer(asked: Asked) -> object:
    """The answer to one request, of its `answer_type`; a refusal is raised."""
    match asked.kind:
        case "pool":
            return pool(asked.read(CalibratePool))
        case "tail":
            return tail(asked.read(ServeTail))
        case _:
            raise asked.unknown()


def pool(request: CalibratePool) -> PoolBreakEven:
    """From which size on a pool of such memory pays."""
    return calibrate(
        _blocks(request.blocks),
        sizes=request.sizes,
        live=request.live,
        rounds=request.rounds,
        max_seconds=request.max_seconds,
    )


def _blocks(kind: BlocksKind) -> Blocks[Any]:
    match kind:
        case "array":
            from grandopt.runtime.memory.blocks.arrays import ArrayBlocks

            return ArrayBlocks()
        case "buffer":
            from grandopt.runtime.memory.blocks.buffers import BufferBlocks

            return BufferBlocks()
        case "tensor":
            from grandopt.runtime.memory.blocks.tensors import TensorBlocks

            return TensorBlocks()


def tail(request: ServeTail) -> TailTimes:
    """Serve, and see what it took."""
    with ExitStack() as stack:
        agent = load(request.artifact, trust=request.trust)
        stack.callback(agent.close)
        ring = list(zip(*load_inputs(request.ring), strict=True))
        server = Server(agent, ring, request.sessions, request.recent)
        gc.collect()  # both begin without garbage
        tracked, per_request = len(gc.get_objects()), server.objects_per_request()
        alone = statistics.median(server.agent_ns())
        if request.collector:
            collector = stack.enter_context(Collector())
            idle: Callable[[], object] = collector.idle
            pauses: Callable[[], tuple[PauseStats, ...]] = partial(_pauses_of, collector)
        else:
            measured = Pauses(time.perf_counter)
            gc.callbacks.append(measured)
            stack.callback(gc.callbacks.remove, measured)
            idle, pauses = _nothing, measured.stats
        thresholds = gc.get_threshold()
        server.serve(WARM_UP, request.burst, idle)
        before, switches = pauses(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        start = time.perf_counter()
        times = server.serve(request.calls, request.burst, idle)
        seconds = time.perf_counter() - start
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        np.save(request.times, np.array(times, np.int64))
        return TailTimes(
            gc_kind=current_gc_kind(),
            tracked=tracked,
            per_request=per_request,
            agent_ns=alone,
            thresholds=thresholds,
            seconds=seconds,
            interrupted=switches,
            collections=_since(before, pauses()),
        )


def _pauses_of(collector: Collector) -> tuple[PauseStats, ...]:
    return collector.stats().pauses


def _nothing() -> None:
    """What Python's defaults do with an idle moment."""


def _since(before: Sequence[PauseStats], after: Sequence[PauseStats]) -> tuple[Collections, ...]:
    """The collections of the measured stretch, where there were any."""
    then = {(row.generation, row.idle): (row.count, row.seconds) for row in before}
    found = []
    for row in after:
        count, seconds = then.get((row.generation, row.idle), (0, 0.0))
        if row.count > count:
            found.append(Collections(row.generation, row.idle, row.count - count, row.seconds - seconds))
    return tuple(found)


if __name__ == "__main__":
    serve(answer)
