"""Adaptive tuning of a real agent: `python -m tests.runtime.adaptation.real ARTIFACT [SECONDS] [WORKERS]`.

Phases: one caller, 64 callers, one caller again. In each the tuner begins with the setting that it found
before (8 rows at first) and has SECONDS; what it ends with is then compared with every fixed limit, in
interleaved rounds of one process. After that, a steady workload with a tuner that has just begun and without
one, in turns. A program, not a test: it prints what it found.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from grandopt import load
from grandopt.runtime.adaptation.tuner import AdaptiveTuner
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import measure_cost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers
from grandopt.signature import Array

LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROUND_S, ROUNDS = 0.4, 5
STEADY_S, STEADY_ROUNDS = 10.0, 3


@dataclass(frozen=True)
class Figures:
    rate: float
    p99_us: float


class Bench:
    """One batcher, and callers for a while."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self.batcher = Batcher(
            executor,
            ThreadWorkers(executor, 1) if workers else InlineWorker(executor),
            BatchSettings(limit=8),
            measure_cost(executor),
        )
        draw = np.random.default_rng(0)
        self.rows: list[tuple[Array, ...]] = [
            tuple(draw.standard_normal(spec.shape).astype(spec.dtype) for spec in executor.signature.inputs)
            for _ in range(1024)
        ]

    async def serve(self, callers: int, seconds: float) -> Figures:
        end = time.perf_counter() + seconds
        before = self.batcher.stats()
        began = time.perf_counter()

        async def call(number: int) -> None:
            place = number
            while time.perf_counter() < end:
                await self.batcher.infer(self.rows[place % len(self.rows)])
                place += callers
                if callers == 1:
                    await asyncio.sleep(0)  # the tuner's timer has its turn, as others have in a program

        await asyncio.gather(*map(call, range(callers)))
        took = time.perf_counter() - began
        after = self.batcher.stats()
        p99 = (after.latency - before.latency).quantile(0.99) or 0.0
        return Figures((after.answered - before.answered) / took, p99 / 1e3)

    def limit(self, rows: int) -> None:
        self.batcher.settings = replace(self.batcher.settings, limit=rows)


async def phase(bench: Bench, callers: int, seconds: float, workers: int) -> None:
    tuner = AdaptiveTuner()
    tuner.add("agent", bench.batcher, most_workers=workers or 1)
    await bench.serve(callers, seconds)
    stats = tuner.stats()
    tuner.close()
    found = bench.batcher.settings.limit
    print(f"\n{callers} caller(s): ends with limit {found}, {bench.batcher.workers.size} worker(s); "
          f"{stats.tried_s:.2f} s in trials")  # fmt: skip
    for decision in stats.decisions:
        print(f"  {str(decision).partition('; before')[0]}")
    rates: dict[int, list[Figures]] = {limit: [] for limit in sorted({*LIMITS, found})}
    for _ in range(ROUNDS):
        for limit, figures in rates.items():
            bench.limit(limit)
            figures.append(await bench.serve(callers, ROUND_S))
    middle = {limit: median(figure.rate for figure in figures) for limit, figures in rates.items()}
    for limit, figures in rates.items():
        p99 = median(figure.p99_us for figure in figures)
        print(
            f"  limit {limit:4}: {middle[limit]:10,.0f} /s, p99 {p99:8.1f} us{' <- found' * (limit == found)}"
        )
    print(f"  found / best fixed: {middle[found] / max(middle.values()):.3f}")
    bench.limit(found)


async def steady(bench: Bench, callers: int, workers: int) -> None:
    ratios, tails = [], []
    limit = bench.batcher.settings.limit
    for _ in range(STEADY_ROUNDS):
        alone = await bench.serve(callers, STEADY_S)
        tuner = AdaptiveTuner()
        tuner.add("agent", bench.batcher, most_workers=workers or 1)
        tuned = await bench.serve(callers, STEADY_S)
        tuner.close()
        bench.limit(limit)
        ratios.append(tuned.rate / alone.rate)
        tails.append(tuned.p99_us / alone.p99_us)
    print(f"\nsteady, {callers} caller(s), with a tuner that begins / without: rate {median(ratios):.3f} "
          f"({min(ratios):.3f} to {max(ratios):.3f}), p99 {median(tails):.3f} "
          f"({min(tails):.3f} to {max(tails):.3f})")  # fmt: skip


async def main(path: str, seconds: float, workers: int) -> None:
    executor = load(path)
    bench = Bench(executor, workers)
    for callers in (1, 64, 1):
        await phase(bench, callers, seconds, workers)
    for callers in (64, 1):
        await steady(bench, callers, workers)
    await bench.batcher.close()
    executor.close()


if __name__ == "__main__":
    asyncio.run(
        main(
            sys.argv[1],
            float(sys.argv[2]) if len(sys.argv) > 2 else 15.0,
            int(sys.argv[3]) if len(sys.argv) > 3 else 0,
        )
    )
