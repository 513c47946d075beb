"""What monitoring costs a request: `python -m tests.runtime.monitoring.cost [SECONDS]`.

One batcher in one process, 64 callers. Rounds without monitoring and with it (tap, drift, margins, a thread
that looks every 0.2 s, five times as often as by default) alternate. A program, not a test: it prints what it
found.
"""

from __future__ import annotations

import asyncio
import sys
import time

import numpy as np

from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.monitoring.sources import AgentSource, Looks
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import measure_cost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.signature import Array, Contract, Signature, TensorSpec
from tests.fakes import FakeExecutor

FEATURES = 152
CALLERS = 64
ROUND_S = 0.5
OFTEN = 5
"""Looks a second: as many times the cost of the default's one."""
SIGNATURE = Signature((TensorSpec("state", (FEATURES,)),), (TensorSpec("scores", (2,), role="scores"),))
EVIDENCE = {
    "observations": {
        "origin": "samples",
        "inputs": {"state": {"mean": [0] * FEATURES, "std": [1] * FEATURES, "rows": 5000}},
    }
}


def _agent() -> FakeExecutor:
    weights = np.random.default_rng(0).standard_normal((FEATURES, 2)).astype(np.float32)
    return FakeExecutor(SIGNATURE, lambda inputs: (inputs[0] @ weights,), Contract(action="argmax"))


async def _round(batcher: Batcher, rows: Array) -> float:
    """Nanoseconds per request over one round."""
    end = time.perf_counter() + ROUND_S
    asked = [0] * CALLERS

    async def caller(number: int) -> None:
        place = number
        while time.perf_counter() < end:
            await batcher.infer((rows[place % len(rows)],))
            asked[number] += 1
            place += CALLERS

    began = time.perf_counter_ns()
    await asyncio.gather(*map(caller, range(CALLERS)))
    return (time.perf_counter_ns() - began) / sum(asked)


async def _measure(seconds: float) -> None:
    executor = _agent()
    batcher = Batcher(executor, InlineWorker(executor), BatchSettings(), measure_cost(executor))
    looks = Looks.at(SIGNATURE, executor.contract, EVIDENCE)
    watch = Monitor(MonitorSettings(interval_s=1 / OFTEN))

    def every(batches: int) -> None:
        batcher.shown.every = batches

    watch.watch(AgentSource("gate", batcher.stats, cost=lambda: batcher.cost, looks=looks, tap_every=every))
    rows = np.random.default_rng(1).standard_normal((4096, FEATURES)).astype(np.float32)
    await _round(batcher, rows)
    off, on = [], []
    for _ in range(max(3, round(seconds / 2 / ROUND_S))):
        batcher.shown.tap = None
        off.append(await _round(batcher, rows))
        batcher.shown.tap = looks.tap
        with watch.watching():
            on.append(await _round(batcher, rows))
    await batcher.close()
    stats = watch.stats()
    differences = np.array(on) - np.array(off)
    middle, error = float(np.median(differences)), float(differences.std(ddof=1) / np.sqrt(len(on)))
    sys.stdout.write(
        f"a request without monitoring {np.median(off):.0f} ns, with it {np.median(on):.0f} ns; paired "
        f"difference: median {middle:.0f} ns, standard error of the mean {error:.0f} ns ({len(on)} rounds); "
        f"with a look a second a fifth of that, {middle / OFTEN:.0f} ± {error / OFTEN:.0f} ns\n"
        f"a look takes {stats.look_ns / 1e3:.0f} µs: once a second that is "
        f"{stats.look_ns / (1e9 / np.median(off)):.1f} ns for each request of this rate\n"
    )


if __name__ == "__main__":
    asyncio.run(_measure(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
