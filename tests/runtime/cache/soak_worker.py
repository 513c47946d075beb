"""One process of the soak: threads that use all levels as fast as they can, and check what they find."""

from __future__ import annotations

import asyncio
import random
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import CacheError
from grandopt.runtime.cache.asynchronous import AsyncHierarchy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys, prefix_of
from grandopt.runtime.cache.levels.compressed import CompressedLevel
from grandopt.runtime.cache.levels.disk import DiskLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.levels.redis import RedisLevel
from grandopt.runtime.cache.policies.adaptive import Adaptive

THREADS = 4
AGENTS = 2
INPUTS = 20_000
"""Inputs of each agent: more than memory holds, so that all levels have work."""
FIELDS = ("lookups", "hits", "wrong", "expired", "computed", "failed", "cancelled", "refused", "crashed")
"""What each thread counts: checked look-ups; values that were another key's, another version's or damaged;
values found after their time; computations that failed on purpose; calls that were cancelled; invalidations
that a level refused; threads that ended with an exception, those of the cache included."""
TTL_S = 1.0
LATE_S = 1.0
"""A value lives from when it is put in, which a busy machine may do some time after it was computed."""
_HEAD = struct.Struct("<4d")
_INPUTS = [np.full((1, 16), number, np.float32) for number in range(INPUTS)]
_TAILS = [np.full(number % 40, number, np.float64).tobytes() for number in range(INPUTS)]


def digest_of(agent: int, version: int) -> str:
    return f"agent {agent} version {version}"


class FailsOnPurposeError(Exception):
    """A computation that fails on purpose."""


class Worker:
    """A process's cache and the threads that use it; `board[row]` is where a thread counts."""

    def __init__(
        self, folder: Path, url: str, board: Any, version: Any, stopping: Any, first_row: int
    ) -> None:
        self.cache = Hierarchy(
            [
                MemoryLevel(Adaptive(), 2000, 1 << 22),
                CompressedLevel(Adaptive(), 4000, 1 << 22),
                DiskLevel(folder, 1 << 25),
                RedisLevel(url, "soak", limit=0.05),
            ],
            queue=1024,
            must_pay=False,
        )
        self._board, self._version, self._stopping, self._first = board, version, stopping, first_row

    def run(self) -> None:
        """All threads until it is time to stop; the cache is closed then."""
        works: list[Callable[[int, random.Random], None]] = [self._threads_work] * (THREADS - 1)
        threads = [
            threading.Thread(target=work, args=(self._first + number, random.Random(self._first + number)))
            for number, work in enumerate([*works, self._loops_work])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.cache.close()

    def _count(self, row: int, field: str, number: int = 1) -> None:
        self._board[row * len(FIELDS) + FIELDS.index(field)] += number

    def _threads_work(self, row: int, rng: random.Random) -> None:
        version, keys = -1, list[InputKeys]()
        while not self._stopping.value:
            if version != self._version.value:
                if row == self._first and version >= 0:
                    self._deploy(row, version)
                version = self._version.value
                keys = [InputKeys(digest_of(agent, version)) for agent in range(AGENTS)]
            drift = int(100 * time.monotonic())
            for _ in range(500):
                agent = rng.randrange(AGENTS)
                number = (int(rng.paretovariate(0.6)) + drift) % INPUTS
                kind = rng.random()
                if kind < 0.9:
                    self._look_up(row, rng, keys[agent], agent, version, number)
                elif kind < 0.92:
                    self._batch(row, keys[agent], agent, version, number)
                else:
                    self._short_lived(row, keys[agent], agent, version, number % 500)

    def _look_up(
        self, row: int, rng: random.Random, keys: InputKeys, agent: int, version: int, number: int
    ) -> None:
        key, computed = keys.one(_INPUTS[number]), False

        def compute() -> Any:
            nonlocal computed
            computed = True
            if rng.random() < 0.01:
                raise FailsOnPurposeError
            return value_of(agent, version, number)

        try:
            found = self.cache.get_or_compute(key, compute)
        except FailsOnPurposeError:
            self._count(row, "failed")
            return
        self._count(row, "computed" if computed else "hits")
        self._check(row, found, agent, version, number)

    def _batch(self, row: int, keys: InputKeys, agent: int, version: int, number: int) -> None:
        numbers = [(number + step) % INPUTS for step in range(8)]
        found = self.cache.get_many([keys.one(_INPUTS[each]) for each in numbers])
        for each, value in zip(numbers, found, strict=True):
            if value is not None:
                self._count(row, "hits")
                self._check(row, value, agent, version, each)

    def _short_lived(self, row: int, keys: InputKeys, agent: int, version: int, number: int) -> None:
        key = keys.key([_INPUTS[number], _INPUTS[0]])  # two inputs: a key of its own
        asked = time.time()
        found = self.cache.get_or_compute(
            key, lambda: value_of(agent, version, number, time.time() + TTL_S), TTL_S
        )
        self._check(row, found, agent, version, number)
        if _HEAD.unpack_from(found)[3] + LATE_S < asked:
            self._count(row, "expired")

    def _check(self, row: int, found: Any, agent: int, version: int, number: int) -> None:
        self._count(row, "lookups")
        content = found.tobytes()
        if _HEAD.unpack_from(content)[:3] != (agent, version, number) or content[32:] != _TAILS[number]:
            self._count(row, "wrong")

    def _deploy(self, row: int, old: int) -> None:
        for agent in range(AGENTS):
            try:
                self.cache.invalidate(prefix_of(digest_of(agent, old)))
            except CacheError:  # the disk is full or the server gone: keys of a new version are others
                self._count(row, "refused")

    def _loops_work(self, row: int, rng: random.Random) -> None:
        asyncio.run(self._awaited(row, rng))

    async def _awaited(self, row: int, rng: random.Random) -> None:
        cache = AsyncHierarchy(self.cache)
        while not self._stopping.value:
            version = self._version.value
            keys = [InputKeys(digest_of(agent, version)) for agent in range(AGENTS)]
            calls = []
            for _ in range(32):
                agent, number = rng.randrange(AGENTS), rng.randrange(INPUTS)
                call = self._awaited_look_up(cache, row, rng, keys[agent], agent, version, number)
                # Twice the same: one computes, one waits, and either may be cancelled.
                calls.append(asyncio.ensure_future(call))
                call = self._awaited_look_up(cache, row, rng, keys[agent], agent, version, number)
                calls.append(asyncio.ensure_future(call))
            await asyncio.sleep(rng.random() * 0.004)
            for call_under_way in calls:
                if rng.random() < 0.3:
                    call_under_way.cancel()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, asyncio.CancelledError):
                    self._count(row, "cancelled")
                elif isinstance(outcome, BaseException):
                    raise outcome
        await cache.flush()
        cache.close()

    async def _awaited_look_up(
        self,
        cache: AsyncHierarchy,
        row: int,
        rng: random.Random,
        keys: InputKeys,
        agent: int,
        version: int,
        number: int,
    ) -> None:
        async def compute() -> Any:
            await asyncio.sleep(rng.random() * 0.004)
            return value_of(agent, version, number)

        found = await cache.get_or_compute(keys.one(_INPUTS[number]), compute)
        self._check(row, found, agent, version, number)


def value_of(agent: int, version: int, number: int, until: float = 0.0) -> Any:
    """The answer of a version of an agent to an input: says whose it is, and how long it is good."""
    content = _HEAD.pack(agent, version, number, until) + _TAILS[number]
    return np.frombuffer(content, np.float64)


def work(folder: str, url: str, board: Any, version: Any, stopping: Any, first_row: int) -> None:
    """The main function of a process."""

    def crashed(args: threading.ExceptHookArgs) -> None:
        board[first_row * len(FIELDS) + FIELDS.index("crashed")] += 1
        threading.__excepthook__(args)

    threading.excepthook = crashed
    Worker(Path(folder), url, board, version, stopping, first_row).run()
