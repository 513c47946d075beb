"""Pools under any order of leases, returns, losses, trims and views that stay."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from grandopt.errors import MemoryPoolError
from grandopt.runtime.memory.blocks.arrays import ArrayBlocks
from grandopt.runtime.memory.break_even import PoolBreakEven
from grandopt.runtime.memory.lease import BufferLease
from grandopt.runtime.memory.pool import Pool
from grandopt.signature import Array

LIMIT = 4096


class PoolStates(RuleBasedStateMachine):
    """Every lease and every view that outlives its lease holds a number of its own; none may ever change."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(
            ArrayBlocks(), LIMIT, PoolBreakEven(100, "a small size, so that both ways are taken")
        )
        self.out: dict[int, BufferLease[Array]] = {}
        self.views: dict[int, Array] = {}
        self.made = self.lost = 0

    leases: Bundle[int] = Bundle("leases")

    @rule(target=leases, elements=st.integers(1, 300), dtype=st.sampled_from(["uint8", "int32"]))
    def take(self, elements: int, dtype: str) -> int:
        self.made += 1
        stats = self.pool.stats()
        try:
            lease = self.pool.lease(elements, dtype)
        except MemoryPoolError:
            room = 1 << (elements - 1).bit_length() if elements > 16 else 16
            assert stats.leased_bytes + room * np.dtype(dtype).itemsize > LIMIT
            return 0
        lease.value[...] = self.made % 120
        self.out[self.made] = lease
        return self.made

    @rule(number=consumes(leases), keep=st.booleans())
    def give_back(self, number: int, keep: bool) -> None:
        if number in self.out:
            lease = self.out.pop(number)
            if keep:
                self.views[number] = lease.value[: max(1, lease.value.size // 2)]
            lease.give_back()

    @rule(number=consumes(leases), keep=st.booleans())
    def lose(self, number: int, keep: bool) -> None:
        if number in self.out:
            if keep:
                self.views[number] = self.out[number].value
            del self.out[number]
            self.lost += 1

    @rule()
    def forget_views(self) -> None:
        self.views.clear()

    @rule(keep=st.integers(0, LIMIT))
    def trim(self, keep: int) -> None:
        self.pool.trim(keep)
        assert self.pool.stats().idle_bytes <= keep

    @invariant()
    def the_limit_holds(self) -> None:
        stats = self.pool.stats()
        assert stats.leased_bytes + stats.idle_bytes <= LIMIT
        assert stats.leases == len(self.out)
        assert stats.leaked == self.lost
        assert stats.idle_bytes == sum(bucket.bytes for bucket in stats.buckets)

    @invariant()
    def nobody_writes_into_anothers_memory(self) -> None:
        held = {number: lease.value for number, lease in self.out.items()} | self.views
        for number, value in held.items():
            assert (value == number % 120).all()
        arrays = sorted((value.ctypes.data, value.nbytes) for value in held.values())
        for (first, size), (second, _) in itertools.pairwise(arrays):
            assert first + size <= second

    def teardown(self) -> None:
        for lease in self.out.values():
            lease.give_back()


PoolStates.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestPoolStates = PoolStates.TestCase
