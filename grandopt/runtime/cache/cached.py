"""An agent with a cache in front of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.cache.answers import Answers
from grandopt.runtime.cache.break_even import CacheBreakEven, Savings
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.base import check_ttl
from grandopt.runtime.cache.lookup import STRIDE
from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.observation import as_arrays, as_given
from grandopt.signature import Array

CLOSE = 20.0
"""An agent that takes less than so many look-ups is asked now and then, to know better how many."""
SELDOM = 4
"""Of the timed look-ups, one in so many is compared with the agent."""


@dataclass(frozen=True)
class _Version:
    """What answers at present, and the keys of its answers."""

    policy: Executor
    keys: InputKeys


class CachedPolicy(Executor):
    """Answers from the cache where it can, and else asks the agent and keeps what it says.

    It takes and gives what the agent does, but arrays that come out are read-only views: no caller can
    change what another one gets. Asking costs about a microsecond (a key, a look-up). Where that is more than
    the hits save, it is left out for a while, with a line in the log, unless `must_pay` is False.

    Thread safety: as the agent's. Ownership: cache and agent stay their owner's but for those among `owned`,
    which `close` closes in turn. `clock` gives seconds. Raises SignatureError for an agent that keeps a state
    between calls: its answers depend on more than its inputs.
    """

    def __init__(
        self,
        policy: Executor,
        keys: InputKeys,
        cache: Hierarchy,
        *,
        name: str = "agent",
        ttl: float | None = None,
        must_pay: bool = True,
        owned: Sequence[Hierarchy | Executor] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(policy.signature, policy.contract)
        if policy.contract.state:
            raise SignatureError(f"{name}: keeps a state between calls; its answers cannot be cached")
        self.contiguous = policy.contiguous
        check_ttl(ttl)
        self._version = _Version(policy, keys)
        cache.expect(keys.prefix, Answers(policy.signature, keys).fit)
        self._cache, self._ttl, self._clock = cache, ttl, clock
        self._owned = owned
        self._savings = Savings()
        self._break_even = CacheBreakEven(f"of {name}", self._savings, clock, must_pay)
        self._single = len(policy.signature.inputs) == 1
        self._until_timed = STRIDE
        self._must_pay, self._until_compared = must_pay, 0
        self._on, self._close = True, False

    @property
    def on(self) -> bool:
        """Whether the cache is asked at present."""
        return self._break_even.on

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        version = self._version
        if not self._asks():
            return version.policy.run(inputs)
        value = self._answer(version.keys.key, inputs, partial(self._asked, version, inputs))
        return value if type(value) is tuple else (value,)

    def __call__(self, *observation: Any) -> Any:
        version = self._version
        if not self._on and self._until_timed > 1:
            self._until_timed -= 1
            return version.policy(*observation)
        if len(observation) == 1 and type(observation[0]) is np.ndarray and self._single:
            # The array as it was given is the key: a hit needs no checks and no conversions.
            array = observation[0]
            if self._on and self._until_timed > 1:
                self._until_timed -= 1
                key = version.keys.one(array)
                value = self._cache.get(key)
                if value is not None:
                    return value
                return self._missed(key, partial(version.policy, *version.keys.representative((array,))))
            if self._asks():
                given = version.keys.representative(observation)
                return self._answer(version.keys.one, array, partial(version.policy, *given))
            return version.policy(*observation)
        arrays, batched, tensors = as_arrays(self.signature, observation)
        results = self.run(arrays)
        if tensors:  # which know no read-only memory
            results = tuple([np.array(result) for result in results])
        return as_given(results, batched, tensors)

    def deploy(self, policy: Executor, keys: InputKeys) -> int:
        """Answer with a new version of the agent from now on, and remove all that the old one said.

        Returns how many entries were removed. Calls under way end with the old version, and are not kept.
        Raises SignatureError for another signature, and CacheError, when the new version answers already,
        if a level could not be reached: what is left there has other keys.
        """
        if policy.signature != self.signature or policy.contract != self.contract:
            raise SignatureError(
                "the new version has another signature or contract; make a new cached policy"
            )
        self._cache.expect(keys.prefix, Answers(policy.signature, keys).fit)
        old, self._version = self._version, _Version(policy, keys)
        return self._cache.invalidate(old.keys.prefix) if old.keys.prefix != keys.prefix else 0

    def stats(self) -> CacheStats:
        """What the cache has done, for all agents that share it."""
        return self._cache.stats()

    def close(self) -> None:
        for each in self._owned:
            each.close()

    def _asks(self) -> bool:
        """Whether the cache is asked this time; while it is off, that is looked at now and then."""
        self._until_timed -= 1
        if self._until_timed <= 0:
            self._on = self._break_even.on
            if not self._on:
                self._until_timed = STRIDE
        return self._on

    def _answer(self, key_of: Callable[[Any], bytes], given: Any, compute: Callable[[], Any]) -> Any:
        if self._until_timed > 0:
            key = key_of(given)
            value = self._cache.get(key)
        else:
            self._until_timed = STRIDE
            start = self._clock()
            key = key_of(given)
            value = self._cache.get(key)
            seconds = self._clock() - start
            self._compare(seconds, compute)
            self._break_even.looked_up(seconds, value is not None)
            self._on = self._break_even.on
        return self._missed(key, compute) if value is None else value

    def _missed(self, key: bytes, compute: Callable[[], Any]) -> Any:
        if not self._close:
            compute = partial(self._timed, compute)
        return self._cache.compute_once(key, compute, self._ttl)

    def _compare(self, seconds: float, compute: Callable[[], Any]) -> None:
        """Ask the agent itself now and then, where it may be as fast as the look-up that took `seconds`.

        Its calls after misses would not do: they find the processor's caches full of other things, as they
        do not without a cache.
        """
        computing = self._savings.seconds
        self._close = computing is not None and computing <= CLOSE * seconds
        self._until_compared -= 1
        if self._close and self._must_pay and self._until_compared <= 0:
            self._until_compared = SELDOM
            compute()
            self._timed(compute)

    def _timed(self, compute: Callable[[], Any]) -> Any:
        start = self._clock()
        value = compute()
        self._savings.computed(self._clock() - start)
        return value

    def _asked(self, version: _Version, inputs: Sequence[Array]) -> Any:
        results = version.policy.run(version.keys.representative(inputs))
        return results[0] if len(results) == 1 else results
