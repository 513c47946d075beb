"""A cache in front of a served agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grandopt.config.cache import CacheConfig
from grandopt.errors import ConfigError, EngineClosed
from grandopt.runtime.cache.asynchronous import AsyncHierarchy
from grandopt.runtime.cache.cached import CachedPolicy
from grandopt.runtime.cache.construct import construct
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.engine.version import Version
from grandopt.signature import Array

Ask = Callable[[tuple[Array, ...], int, int], Awaitable[tuple[Array, ...]]]
"""One observation, its class and its deadline (0: none): the agent's outputs."""


class CachedAgent:
    """Answers single observations from a cache, and asks the agent for the others.

    Where look-ups cost more than they save they are left out for a while, unless `must_pay` is False. What
    comes out of the cache is read-only. Equal observations that are asked for at the same time are computed
    once, but for those with a deadline, which wait for nobody else's request. Thread safety: `policy` may be
    called from any thread, the rest belongs to the engine's event loop.

    Raises ConfigError for `steps`, whose error has to be measured on samples (see `grandopt.cached`), and
    what a cache that cannot be made raises.
    """

    def __init__(self, settings: CacheConfig, name: str, version: Version, ask: Ask) -> None:
        if settings.steps:
            raise ConfigError(
                f"{name}: steps need samples to measure their error on: give the engine an agent from "
                f"grandopt.cached, or leave the steps out"
            )
        self._ttl = settings.ttl_s
        self.ask = ask
        """What answers where the cache does not; may be set before the first request."""
        self._keys = InputKeys(version.origin.digest)
        self._cache = construct(settings)
        self._waiting = AsyncHierarchy(self._cache)
        self._closed = False
        self.policy = CachedPolicy(
            version, self._keys, self._cache, name=name, ttl=settings.ttl_s, must_pay=settings.must_pay
        )
        """The same cache for callers that do not await."""

    async def infer(self, inputs: tuple[Array, ...], priority: int, deadline: int) -> tuple[Array, ...]:
        """As the agent answers; raises what it does."""
        cache = self._cache
        if self._closed:
            raise EngineClosed("the agent is served no longer: it was unloaded, or the engine was shut down")
        if cache.idle and cache.skip():
            return await self.ask(inputs, priority, deadline)
        key = self._keys.key(inputs)
        value = cache.get_near(key)
        if value is None:
            value = await self._missed(key, inputs, priority, deadline)
        return value if type(value) is tuple else (value,)

    @property
    def cache(self) -> Hierarchy:
        """Where the answers are kept."""
        return self._cache

    def deploy(self, version: Version) -> None:
        """Answer with another version of the agent from now on; what the old one said is removed."""
        keys = InputKeys(version.origin.digest)
        self.policy.deploy(version, keys)
        self._keys = keys

    def stats(self) -> CacheStats:
        """What the cache has done."""
        return self._cache.stats()

    def close(self) -> None:
        """Write what waits, and close the levels. Twice is allowed."""
        self._closed = True
        self._waiting.close()
        self._cache.close()

    async def _missed(self, key: bytes, inputs: tuple[Array, ...], priority: int, deadline: int) -> Any:
        async def compute() -> Any:
            outputs = await self.ask(inputs, priority, deadline)
            return outputs[0] if len(outputs) == 1 else outputs

        if not deadline:
            return await self._waiting.get_or_compute(key, compute, self._ttl)
        value = await self._waiting.get(key)
        if value is None:
            value = await compute()
            self._cache.put(key, value, self._ttl)
        return value
