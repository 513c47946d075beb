"""Measures from which size on a pool pays on this machine."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from grandopt.errors import ConfigError
from grandopt.runtime.memory.blocks.base import Blocks
from grandopt.runtime.memory.break_even import ALWAYS, PoolBreakEven, SizeTime, decide
from grandopt.runtime.memory.pool import Pool

SIZES = tuple(1 << power for power in range(14, 25, 2))
"""Bytes: 16 KiB to 16 MiB."""
LIVE = 4
"""Pieces held at a time: a call holds its inputs, outputs and scratch together. With only one, the C library
gives the same memory back each time, and no pool can be faster."""
ROUNDS = 9
FEWEST = 3
MOST_S = 0.5
"""Seconds after which no larger size is begun, and no size has more than FEWEST rounds."""

V = TypeVar("V")
_known: dict[tuple[str, str], PoolBreakEven] = {}
_turn = threading.Lock()


def calibrate(
    blocks: Blocks[V],
    *,
    sizes: Sequence[int] = SIZES,
    live: int = LIVE,
    rounds: int = ROUNDS,
    max_seconds: float = MOST_S,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> PoolBreakEven:
    """Take, write and give back memory of each size, from a pool and fresh in turns, and decide.

    Sizes are bytes of uint8 values, `live` of them held at a time; `clock` gives nanoseconds. The C library
    learns from what it is asked for (glibc keeps freed pieces up to the largest that it has seen, at most
    32 MiB), so that this process keeps more freed memory for itself afterwards. Raises ConfigError for sizes,
    rounds or pieces below 1.
    """
    if not sizes or min(*sizes, rounds, live) < 1:
        raise ConfigError(
            f"nothing to measure: sizes {list(sizes)}, {rounds} rounds, {live} pieces at a time"
        )
    dtype = "bytes" if blocks.kind == "buffer" else "uint8"
    end = clock() + int(max_seconds * 1e9)
    times: list[SizeTime] = []
    for size in sorted(sizes):
        if times and clock() >= end:
            break
        pool = Pool(blocks, 4 * live * (1 << size.bit_length()), ALWAYS)
        ways = (_fresh(blocks, size, dtype, live), _pooled(pool, blocks, size, dtype, live))
        samples: tuple[list[int], list[int]] = ([], [])
        for number in range(rounds + 1):
            if number > FEWEST and clock() >= end:
                break
            for way, taken in zip(ways, samples, strict=True):
                start = clock()
                way()
                if number:  # the first round finds the pool empty
                    taken.append(clock() - start)
        fresh, pooled = (statistics.median(taken) / live for taken in samples)
        times.append(SizeTime(size, fresh, pooled))
        pool.close()
    return decide(times, live)


def calibrated(blocks: Blocks[V], limit_bytes: int, **options: Any) -> Pool[V]:
    """A pool that keeps memory where `calibrate` found that this pays.

    It is measured once per kind and device in the life of the process, which takes up to about a second.
    `options` are those of Pool.
    """
    with _turn:
        break_even = _known.get((blocks.kind, blocks.device))
        if break_even is None:
            break_even = _known[blocks.kind, blocks.device] = calibrate(blocks)
    return Pool(blocks, limit_bytes, break_even, **options)


def _fresh(blocks: Blocks[V], size: int, dtype: str, live: int) -> Callable[[], None]:
    def work() -> None:
        held = []
        for _ in range(live):
            value = blocks.fresh(dtype, (size,))
            blocks.write(value)
            held.append(value)

    return work


def _pooled(pool: Pool[V], blocks: Blocks[V], size: int, dtype: str, live: int) -> Callable[[], None]:
    def work() -> None:
        held = []
        for _ in range(live):
            lease = pool.lease(size, dtype)
            blocks.write(lease.value)
            held.append(lease)
        for lease in held:
            lease.give_back()

    return work
