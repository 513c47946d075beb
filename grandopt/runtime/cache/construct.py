"""A cache from its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from grandopt.config.cache import CacheConfig, EvictionPolicy
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.levels.base import CacheLevel
from grandopt.runtime.cache.levels.memory import MemoryLevel
from grandopt.runtime.cache.policies.base import Policy

MORE = 4
"""Times as many entries are let into compressed memory as into memory; its bytes are what limits it."""


def construct(settings: CacheConfig) -> Hierarchy:
    """The levels that `settings` name, as one cache, which the caller closes.

    Raises CacheError for a folder that cannot be used or a Redis client that is not installed, and
    ConfigError for a wrong Redis URL. A server that does not answer is no error.
    """
    with ExitStack() as opened:  # what was opened is closed again when a later level cannot be
        levels: list[CacheLevel] = []
        for level in _levels(settings):
            opened.callback(level.close)
            levels.append(level)
        opened.pop_all()
    return Hierarchy(levels, must_pay=settings.must_pay)


def _levels(settings: CacheConfig) -> Iterator[CacheLevel]:
    """The levels from the fastest on, each opened when it is asked for."""
    yield MemoryLevel(policy(settings.policy), settings.entries, _bytes(settings.memory_mb))
    if settings.compressed_mb is not None:
        from grandopt.runtime.cache.levels.compressed import CompressedLevel

        size = _bytes(settings.compressed_mb)
        yield CompressedLevel(policy(settings.policy), MORE * settings.entries, size)
    if settings.folder is not None:
        from grandopt.runtime.cache.levels.disk import DiskLevel

        yield DiskLevel(settings.folder, _bytes(settings.folder_mb))
    if settings.redis is not None:
        from grandopt.runtime.cache.levels.redis import RedisLevel

        yield RedisLevel(settings.redis, settings.redis_namespace, settings.redis_limit_ms / 1000)


def policy(name: EvictionPolicy) -> Policy:
    """The eviction policy of that name."""
    match name:
        case "adaptive":
            from grandopt.runtime.cache.policies.adaptive import Adaptive

            return Adaptive()
        case "lru":
            from grandopt.runtime.cache.policies.lru import LRU

            return LRU()
        case "lfu":
            from grandopt.runtime.cache.policies.lfu import LFU

            return LFU()


def _bytes(megabytes: float) -> int:
    return max(1, int(megabytes * 1e6))
