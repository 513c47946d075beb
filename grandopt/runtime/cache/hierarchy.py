"""All levels as one cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from grandopt.errors import CacheError, ConfigError
from grandopt.runtime.cache.break_even import Savings
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.keys import PREFIX_BYTES
from grandopt.runtime.cache.levels.base import CacheLevel, Item, check_ttl
from grandopt.runtime.cache.levels.memory import MemoryLevel, Ready
from grandopt.runtime.cache.lookup import STRIDE
from grandopt.runtime.cache.opener import opener
from grandopt.runtime.cache.single_flight import Leader, Open, Pending, SingleFlight
from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.cache.tier import FirstTier, Tier
from grandopt.runtime.cache.write_behind import WriteBehind

Fits = Callable[[bytes, Any], bool]
"""Whether a value can be what is kept under a key."""

QUEUE = 4096
"""Values that wait to be written to disk and network, at most."""


class Hierarchy:
    """Looks for a value from the fastest level to the slowest, and moves what it finds up to the fastest.

    A key stands for one value: it holds all that decides what the value is. A value that is put in goes to
    memory at once, and to the levels that block (disk, network) from a thread of its own. What leaves memory
    goes to compressed memory; what leaves that is on the levels below, if there are any. None is never kept:
    as an answer it means that there is no value. Values given back are the caller's own: changing them
    changes nothing in the cache; arrays are read-only.

    Thread safety: any thread may call any method but `close`, which comes last. Ownership: the hierarchy
    closes its levels. `clock` gives seconds and is what levels are judged by (see Worth): one that costs
    more than it saves is left out for a while, unless `must_pay` is False.
    """

    def __init__(
        self,
        levels: Sequence[CacheLevel],
        queue: int = QUEUE,
        clock: Callable[[], float] = time.perf_counter,
        must_pay: bool = True,
    ) -> None:
        if not levels or not isinstance(levels[0], MemoryLevel):
            raise ConfigError("a cache hierarchy begins with a memory level")
        self._memory = levels[0]
        self._clock = clock
        self._savings = Savings()
        self._first = FirstTier(levels[0], self._savings, clock, self._judged, must_pay)
        below = [Tier(level, self._savings, clock, self._judged, must_pay) for level in levels[1:]]
        self._near = [tier for tier in below if not tier.level.blocks]
        self._far = [tier for tier in below if tier.level.blocks]
        self._writer = WriteBehind(self._write, queue)
        self._pending = SingleFlight()
        self._tiers: tuple[Tier, ...] = (self._first, *self._near, *self._far)
        self._owners: dict[bytes, Fits] = {}
        self._idle = False
        self._skipped = STRIDE
        self._invalidations = self._computed = 0
        self._find = self._first.look_up(self._below_all)
        self._find_near = self._first.look_up(self._below_near)
        self.get: Callable[[bytes], Any] = self._find
        """The value of a key; None when there is none."""
        self.get_near: Callable[[bytes], Any] = self._find_near
        """`get` in the levels that never block."""

    @property
    def idle(self) -> bool:
        """Whether no level pays at present: callers may compute without asking, now and then excepted."""
        return self._idle

    @property
    def blocks(self) -> bool:
        """Whether a look-up may wait for a disk or a network."""
        return bool(self._far)

    def expect(self, prefix: bytes, fits: Fits) -> None:
        """Hand out, of what a level has for keys of `prefix`, only values that fit; the others are misses.

        What is put in here is not looked at: it was computed in this process.
        """
        self._owners[prefix] = fits

    def get_far(self, key: bytes) -> Any:
        """`get` in the levels that may block."""
        return self._below(self._far, key)

    def get_many(self, keys: Sequence[bytes]) -> list[Any]:
        """The values of `keys`, None for those without; each level is asked once."""
        values = [self.get_near(key) for key in keys]
        for tier in self._far:
            missing = [number for number, value in enumerate(values) if value is None]
            start = self._invalidations
            for number, item in zip(missing, tier.get_many([keys[n] for n in missing]), strict=True):
                values[number] = self._promoted(tier, item, start)
        return values

    def put(self, key: bytes, value: Any, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds (None: until it leaves for others); a `value` of None is not kept.

        Raises CacheError for a value that cannot be encoded, ConfigError for a `ttl` that is not positive.
        """
        check_ttl(ttl)
        if value is not None:
            self._keep(key, _ready(value), ttl, self._invalidations)

    def put_many(self, values: Mapping[bytes, Any], ttl: float | None = None) -> None:
        """`put` of each; none is kept when one of them is refused."""
        check_ttl(ttl)
        start = self._invalidations
        encoded = {key: _ready(value) for key, value in values.items() if value is not None}
        for key, ready in encoded.items():
            self._keep(key, ready, ttl, start)

    def get_or_compute(self, key: bytes, compute: Callable[[], Any], ttl: float | None = None) -> Any:
        """The value of `key`; one of those who miss it at the same time computes it, the others wait.

        What `compute` raises is raised to the caller that ran it; one of those waiting computes then. Raises
        CacheError when `compute` waits for itself, else as `put` does. While no level pays, each caller gets
        what its `compute` returns, as it is.
        """
        if self._idle and self.skip():
            return compute()
        value = self.get(key)
        return self.compute_once(key, compute, ttl) if value is None else value

    def compute_once(self, key: bytes, compute: Callable[[], Any], ttl: float | None = None) -> Any:
        """`get_or_compute` of a key that was just not found."""
        check_ttl(ttl)
        while True:
            pending, leads = self._pending.join(key)
            if leads:
                break
            landed = pending.wait()
            if landed is not None:
                return landed()
        with self.leading(key, pending, ttl) as lead:
            return lead.value if lead.found else lead.computed(compute())

    def join(self, key: bytes) -> tuple[Pending, bool]:
        """The computation of `key` under way, and whether the caller leads it: then `leading` must follow."""
        return self._pending.join(key)

    @contextmanager
    def leading(self, key: bytes, pending: Pending, ttl: float | None) -> Iterator[Leader]:
        """Compute within; however that ends, those who wait go on."""
        lead = Leader(self, key, ttl, self._invalidations)
        try:
            lead.look_again(self._memory)
            yield lead
        finally:
            self._pending.publish(key, pending, lead.outcome)

    def settle(self, key: bytes, value: Any, ttl: float | None, seconds: float, start: int) -> Open:
        """Keep a value that took `seconds` to compute; what opens it anew."""
        self._savings.computed(seconds)
        self._computed += 1
        if value is None:
            return _nothing
        ready = _ready(value)
        self._keep(key, ready, ttl, start)
        return ready.open

    def invalidate(self, prefix: bytes) -> int:
        """Remove all entries whose keys begin with an artifact's prefix, on every level; returns how many.

        What is being computed or looked up meanwhile is not kept. An entry counts on each level that has it.
        Raises CacheError, after it has done all levels, if one could not be reached.
        """
        self._invalidations += 1
        self._writer.forget(lambda key: key.startswith(prefix))
        removed, refused = 0, []
        for tier in self._tiers:
            try:
                removed += tier.level.discard_prefix(prefix)
            except CacheError as error:
                refused.append(error)
        if refused:
            raise refused[0]
        return removed

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all is written that was put in; False if that takes longer than `timeout` seconds."""
        return self._writer.flush(timeout)

    @property
    def lookups(self) -> int:
        """How often memory was asked."""
        counts = self._memory.counts()
        return counts.hits + counts.misses

    @property
    def memory_entries(self) -> int:
        """How many entries memory holds at most."""
        return self._memory.most_entries

    def resize_memory(self, entries: int) -> None:
        """Let memory hold at most so many entries from now on; what leaves goes where it always does.

        Raises ConfigError for less than 1.
        """
        self._demote(self._memory.resize(entries))

    def stats(self) -> CacheStats:
        """What was done since the beginning."""
        return CacheStats(tuple(tier.stats() for tier in self._tiers), self._computed, self._writer.dropped)

    def close(self) -> None:
        """Write what is waiting, and close the levels. Calling it twice is allowed."""
        self._writer.close()
        for tier in self._tiers:
            tier.level.close()

    def __enter__(self) -> Hierarchy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def now(self) -> float:
        """The clock's time."""
        return self._clock()

    def skip(self) -> bool:
        """Whether the next computation can be made without asking; now and then it cannot."""
        self._skipped -= 1
        if self._skipped > 0:
            return self._idle
        self._judged()
        return self._idle

    def _judged(self) -> None:
        """Act on what the levels' look-ups were found to be worth."""
        self._skipped = STRIDE
        self._idle = not any(tier.on for tier in self._tiers)
        self.get = self._find if self._first.on else self._without_memory
        self.get_near = self._find_near if self._first.on else self._near_without_memory

    def _without_memory(self, key: bytes) -> Any:
        if self.skip() or not self._first.on:
            return self._below_all(key)
        return self._find(key)

    def _near_without_memory(self, key: bytes) -> Any:
        if self.skip() or not self._first.on:
            return self._below_near(key)
        return self._find_near(key)

    def _below_all(self, key: bytes) -> Any:
        value = self._below(self._near, key) if self._near else None
        return self._below(self._far, key) if value is None and self._far else value

    def _below_near(self, key: bytes) -> Any:
        return self._below(self._near, key) if self._near else None

    def _below(self, tiers: Sequence[Tier], key: bytes) -> Any:
        start = self._invalidations
        for tier in tiers:
            value = self._promoted(tier, tier.get(key), start)
            if value is not None:
                return value
        return None

    def _promoted(self, tier: Tier, item: Item | None, start: int) -> Any:
        """The value of what `tier` has found; it is in memory from now on."""
        if item is None:
            return None
        try:
            ready = Ready(item.data, opener(item.data))
        except CacheError:  # sound bytes of another format
            tier.level.reject(item.key)
            return None
        fits = self._owners.get(item.key[:PREFIX_BYTES])
        if fits is not None and not fits(item.key, ready.open()):
            tier.level.reject(item.key)
            return None
        self._keep_near(item.key, ready, item.ttl, start)
        return ready.open()

    def _keep(self, key: bytes, ready: Ready, ttl: float | None, start: int) -> None:
        for tier in self._near:
            tier.level.discard(key)
        self._keep_near(key, ready, ttl, start)
        if self._far and start == self._invalidations:
            self._writer.offer(Item(key, ready.data, ttl))

    def _keep_near(self, key: bytes, ready: Ready, ttl: float | None, start: int) -> None:
        if start != self._invalidations or (ttl is not None and ttl <= 0):
            return
        self._demote(self._memory.keep(key, ready, ttl) if self._first.on else [Item(key, ready.data, ttl)])

    def _demote(self, gone: list[Item]) -> None:
        """Offer what left memory to the levels right below."""
        for tier in self._near:
            if tier.on:
                tier.level.put_many([item for item in gone if not tier.level.holds(item.key)])

    def _write(self, items: Sequence[Item]) -> None:
        for tier in self._far:
            tier.put_many(items)


def _ready(value: Any) -> Ready:
    data = encode(value)
    return Ready(data, opener(data))


def _nothing() -> None:
    return None
