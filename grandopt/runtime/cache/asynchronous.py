"""The hierarchy for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.levels.base import check_ttl

THREADS = 4
"""That wait for disk and network in the event loop's place."""


class AsyncHierarchy:
    """The same cache, awaited: the event loop never waits for a disk, a network or another caller.

    Memory is looked up in the loop's own thread, which takes microseconds; only what is not there costs a
    change of threads. A hierarchy may be used from threads and from event loops at the same time: a key is
    computed once for all of them. Ownership: the hierarchy stays its owner's; `close` ends the threads.
    """

    def __init__(self, cache: Hierarchy, threads: int = THREADS) -> None:
        self._cache = cache
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="grandopt-cache")

    async def get(self, key: bytes) -> Any:
        """The value of `key`; None when there is none."""
        value = self._cache.get_near(key)
        if value is None and self._cache.blocks:
            value = await self._elsewhere(self._cache.get_far, key)
        return value

    async def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        """The values of `keys`, None for those without."""
        if not self._cache.blocks:
            return self._cache.get_many(keys)
        return list(await self._elsewhere(self._cache.get_many, keys))

    async def put(self, key: bytes, value: Any, ttl: float | None = None) -> None:
        """Keep `value`; as `Hierarchy.put`."""
        self._cache.put(key, value, ttl)

    async def put_many(self, values: Mapping[bytes, Any], ttl: float | None = None) -> None:
        """Keep all of `values`; as `Hierarchy.put_many`."""
        self._cache.put_many(values, ttl)

    async def get_or_compute(
        self, key: bytes, compute: Callable[[], Awaitable[Any]], ttl: float | None = None
    ) -> Any:
        """The value of `key`; one of those who miss it at the same time computes it, the others wait.

        When the caller that computes fails or is cancelled, one of those waiting computes.
        """
        check_ttl(ttl)
        value = await self.get(key)
        while value is None:
            pending, leads = self._cache.join(key)
            if not leads:
                landed = await pending.wait_async()
                if landed is not None:
                    return landed()
                continue
            with self._cache.leading(key, pending, ttl) as lead:
                return lead.value if lead.found else lead.computed(await compute())
        return value

    async def invalidate(self, prefix: bytes) -> int:
        """Remove all entries of an artifact; as `Hierarchy.invalidate`."""
        return int(await self._elsewhere(self._cache.invalidate, prefix))

    async def flush(self) -> None:
        """Wait until all is written that was put in."""
        await self._elsewhere(self._cache.flush)

    def close(self) -> None:
        """End the threads; the hierarchy stays open."""
        self._threads.shutdown()

    async def _elsewhere(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
