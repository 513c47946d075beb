"""What a shadow costs the live traffic: `python -m tests.runtime.engine.shadow_cost ARTIFACT [ROUNDS]`.

One engine, 8 callers. Rounds without a shadow and with one (10 % of the observations; the candidate is the
same artifact with every hundredth decision altered) alternate. A program, not a test: it prints what it
found.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from grandopt import load
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from tests.fakes import FakeExecutor

CALLERS, ROUND_S = 8, 2.0


def altered(executor: Executor) -> FakeExecutor:
    """The same answers but for observations whose first element is a multiple of 100: reversed."""

    def run(inputs: Sequence[Array]) -> tuple[Array, ...]:
        other = inputs[0].reshape(len(inputs[0]), -1)[:, 0] % 100 == 0
        return tuple(np.where(other[:, None], out[:, ::-1], out) for out in executor.run(inputs))

    return FakeExecutor(executor.signature, run, executor.contract)


async def serve(engine: Engine, rows: Array) -> tuple[float, float]:
    """Answers a second and the p99 in nanoseconds."""
    end = time.perf_counter() + ROUND_S
    before = engine.stats().agents["agent"].batches

    async def call(number: int) -> None:
        place = number
        while time.perf_counter() < end:
            await engine.infer("agent", rows[place % len(rows)])
            place += CALLERS

    await asyncio.gather(*map(call, range(CALLERS)))
    after = engine.stats().agents["agent"].batches
    assert before is not None
    assert after is not None
    counts = after.latency - before.latency
    return counts.total / ROUND_S, counts.quantile(0.99) or 0.0


async def main(path: str, rounds: int) -> None:
    executor = load(path)
    (spec,) = executor.signature.inputs
    rows = np.random.default_rng(0).standard_normal((10_000, *spec.shape)).astype(np.float32)
    # In random order: callers go at their own pace, and each shall meet one altered decision in a hundred.
    rows.reshape(len(rows), -1)[:, 0] = np.random.default_rng(1).permutation(len(rows))
    rates, tails = [], []
    async with Engine() as engine:
        engine.load(path, "agent")
        await serve(engine, rows)
        for number in range(rounds):
            alone = await serve(engine, rows)
            shadow = engine.shadow("agent", altered(executor), seed=number)
            beside = await serve(engine, rows)
            report = shadow.withdraw()
            low, high = report.interval
            rates.append(beside[0] / alone[0])
            tails.append(beside[1] / alone[1])
            print(f"{alone[0]:10,.0f} /s alone, p99 {alone[1] / 1e3:7.1f} us; beside a shadow "
                  f"{beside[0]:10,.0f} /s, p99 {beside[1] / 1e3:7.1f} us; compared {report.compared:6} of "
                  f"{report.seen}: {report.rate or 0:.4f} ({low:.4f} to {high:.4f})")  # fmt: skip
    executor.close()
    print(f"with / without: rate {median(rates):.3f} ({min(rates):.3f} to {max(rates):.3f}), "
          f"p99 {median(tails):.3f} ({min(tails):.3f} to {max(tails):.3f})")  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5))
