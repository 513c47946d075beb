"""L4: values in a Redis server, shared by machines."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from grandopt.errors import CacheError, ConfigError, first_line
from grandopt.private import url_without_secrets, without
from grandopt.runtime.cache.envelope import VERSION, seal, unseal
from grandopt.runtime.cache.keys import PREFIX_BYTES
from grandopt.runtime.cache.levels.base import CacheLevel, Item, LevelCounts, check_ttl
from grandopt.runtime.cache.levels.breaker import Breaker
from grandopt.runtime.cache.levels.complaints import Complaints
from grandopt.runtime.cache.levels.redis_limits import bounded

WAITS = 4
"""A look-up waits at most so often: to connect, for two answers to the client's introduction, for its own."""
NONSENSE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    RecursionError,
)
"""What the client itself raises over answers that no Redis gives, and what the network does."""
PAGE = 500
"""Keys that one command removes or one scan asks for."""


class RedisLevel(CacheLevel):
    """Values under `grandopt:<version>:<namespace>:<prefix>:<rest of the key>`.

    A server that cannot be reached, or does not answer within `limit` seconds, is a miss; after some of those
    no look-up asks it for a while (see Breaker). `clock` gives the time of day in seconds. The first
    connection is made by the first look-up. Raises ConfigError for a wrong URL, and CacheError when the
    client library is not installed.
    """

    name = "redis"
    blocks = True

    def __init__(
        self,
        url: str,
        namespace: str = "default",
        limit: float = 0.05,
        clock: Callable[[], float] = time.time,
        breaker: Breaker | None = None,
    ) -> None:
        if not namespace.isascii() or not namespace.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"a Redis namespace may hold letters, digits, '-' and '_', got {namespace!r}")
        if not limit > 0:
            raise ConfigError(f"the time limit of Redis must be positive, got {limit} s")
        self._client, self._failed = _connect(url, limit)
        self._start = f"grandopt:{VERSION}:{namespace}:".encode()
        self._clock = clock
        self._breaker = breaker or Breaker()
        self._counts = dict.fromkeys(("hits", "misses", "expirations", "failures", "damaged"), 0)
        self._complaints = Complaints("redis")

    def get(self, key: bytes) -> Item | None:
        # As `_ask`, written out: this is done at every look-up.
        if not self._breaker.allows():
            return self._miss("failures")
        try:
            sealed = self._client.get(self._name(key))
        except self._failed as error:
            self._unanswered(error)
            return self._miss()
        self._breaker.succeeded()
        return self._opened(key, sealed)

    def get_many(self, keys: Sequence[bytes]) -> list[Item | None]:
        if not keys:
            return []
        found = self._ask(lambda: self._client.mget([self._name(key) for key in keys]))
        if not isinstance(found, list) or len(found) != len(keys):
            if found is not None:
                self._unanswered(f"{type(found).__name__} instead of {len(keys)} values")
            found = [None] * len(keys)
        return [self._opened(key, sealed) for key, sealed in zip(keys, found, strict=True)]

    def put(self, key: bytes, data: bytes, ttl: float | None = None) -> tuple[Item, ...]:
        self.put_many([Item(key, data, ttl)])
        return ()

    def put_many(self, items: Sequence[Item]) -> None:
        for item in items:
            check_ttl(item.ttl)

        def send() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for key, data, ttl in items:
                expires = math.inf if ttl is None else self._clock() + ttl
                # Rounded up: the time sealed with the value is the one that counts.
                life = None if ttl is None else math.ceil(1000 * ttl)
                pipeline.set(self._name(key), seal(key, data, expires), px=life)
            pipeline.execute()

        self._ask(send)

    def holds(self, key: bytes) -> bool:
        return bool(self._ask(lambda: self._client.exists(self._name(key))))

    def discard(self, key: bytes) -> None:
        self._ask(lambda: self._client.unlink(self._name(key)))

    def discard_prefix(self, prefix: bytes) -> int:
        """As in the contract. Raises CacheError when the server cannot be reached."""
        return self._remove(self._start + prefix.hex().encode() + b":*")

    def clear(self) -> None:
        """As in the contract, within the namespace. Raises CacheError when the server cannot be reached."""
        self._remove(self._start + b"*")

    def counts(self) -> LevelCounts:
        return LevelCounts(evictions=None, entries=None, bytes=None, **self._counts)

    def close(self) -> None:
        self._client.close()

    def _name(self, key: bytes) -> bytes:
        return self._start + key[:PREFIX_BYTES].hex().encode() + b":" + key[PREFIX_BYTES:]

    def _ask(self, command: Callable[[], Any]) -> Any:
        """What the server answers; None when it does not, or is not asked."""
        if not self._breaker.allows():
            self._count("failures")
            return None
        try:
            answer = command()
        except self._failed as error:
            self._unanswered(error)
            return None
        self._breaker.succeeded()
        return answer

    def reject(self, key: bytes) -> None:
        self._complaints.about("a value that is none of the agent's was removed")
        self._count("damaged")
        self.discard(key)

    def _unanswered(self, cause: Exception | str) -> None:
        self._breaker.failed()
        self._count("failures")
        shown = cause if isinstance(cause, str) else f"{type(cause).__name__}: {first_line(cause)}"
        self._complaints.about("the server does not answer", shown)

    def _opened(self, key: bytes, sealed: Any) -> Item | None:
        if sealed is None:
            return self._miss()
        envelope = unseal(key, sealed) if isinstance(sealed, bytes) else None
        if envelope is None:
            self._complaints.about("a damaged value was removed")
            self.discard(key)
            return self._miss("damaged")
        left = None if envelope.expires == math.inf else envelope.expires - self._clock()
        if left is not None and left <= 0:
            return self._miss("expirations")
        self._count("hits")
        return Item(key, envelope.data, left)

    def _remove(self, pattern: bytes) -> int:
        removed = 0
        try:
            for names in self._pages(pattern):
                removed += int(self._client.unlink(*names))
        except self._failed as error:
            raise CacheError(f"Redis: entries cannot be removed ({first_line(error)})") from error
        return removed

    def _pages(self, pattern: bytes) -> Iterator[list[bytes]]:
        cursor, seen = 0, set[int]()
        while True:
            cursor, names = self._client.scan(cursor, match=pattern, count=PAGE)
            if names:
                yield names
            if cursor == 0:
                return
            if cursor in seen:
                raise ValueError(f"the cursor {cursor} comes again")
            seen.add(cursor)

    def _miss(self, *reasons: str) -> Item | None:
        self._count("misses", *reasons)
        return None

    def _count(self, *names: str) -> None:
        for name in names:
            self._counts[name] += 1  # without a lock, as in Shelf


def _connect(url: str, limit: float) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client that gives up in time and tries nothing twice, and the errors that mean that it has."""
    try:
        redis = importlib.import_module("redis")
    except ImportError as error:
        raise CacheError("the Redis client is not installed; `pip install 'grandopt[redis]'`") from error
    retry = importlib.import_module("redis.retry").Retry(
        importlib.import_module("redis.backoff").NoBackoff(), 0
    )
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=limit / WAITS,
            socket_connect_timeout=limit / WAITS,
            retry=retry,
            protocol=2,  # no greeting, which would be one more wait
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # refuses options that it does not know; asks nobody
        pool.connection_class = bounded(pool.connection_class, limit)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{url_without_secrets(url)!r} is no Redis URL ({without(first_line(error), url)}); "
            f"redis://host:6379/0 is one"
        ) from error
    return client, (redis.RedisError, *NONSENSE)
