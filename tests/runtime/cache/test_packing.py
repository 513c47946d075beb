"""Compressed values that share what they repeat."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.measurement.streams.market import windows
from grandopt.runtime.cache.bounded_store import ENTRY_BYTES
from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.cache.levels.compressed import CompressedLevel
from grandopt.runtime.cache.packing import BASES, LAYOUTS, Packed, Packer, unpack
from grandopt.runtime.cache.policies.lru import LRU
from tests.runtime.cache.clock import Clock


def market(count: int, rows: int = 60) -> list[bytes]:
    return [encode(window) for window in windows(count, rows, np.random.default_rng(0))]


def held(packed: list[Packed]) -> int:
    return sum(len(one.data) for one in packed)


def test_windows_of_a_market_shrink_six_times() -> None:
    values = market(400)
    packer = Packer()
    packed = [packer.pack(value) for value in values]
    assert [unpack(one) for one in packed] == values
    assert sum(map(len, values)) / held(packed) >= 6
    assert all(one.base is None or one.base.base is None for one in packed)


def test_the_order_of_time_may_be_backwards_and_the_last_row_unfinished() -> None:
    values = windows(100, 60, np.random.default_rng(1))
    for window in values:
        window[-1, 3:5] += 0.25  # the bar that is still being made
    for order in (values, values[::-1]):
        packer = Packer()
        packed = [packer.pack(encode(window)) for window in order]
        assert [unpack(one) for one in packed] == [encode(window) for window in order]
        assert sum(one.base is not None for one in packed) > 80


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 3)), max_size=8),
    st.sampled_from([np.float32, np.float64, np.uint8]),
)
def test_bits_come_back_whatever_repeats(places: list[tuple[int, int, int]], dtype: type) -> None:
    stream = np.random.default_rng(0).bytes(2000)
    packer = Packer()
    for place, cut, noise in places:
        content = bytearray(stream[place : place + 400])
        for offset in range(noise):
            content[(cut + 7 * offset) % 400] ^= 255  # NaNs with payloads and the like
        value = encode(np.frombuffer(bytes(content), dtype))
        packed = packer.pack(value)
        assert unpack(packed) == value
        assert len(packed.data) <= len(value) + 1


def test_noise_leans_on_nothing_and_grows_by_one_byte() -> None:
    rng, packer = np.random.default_rng(0), Packer()
    for _ in range(20):
        value = encode(rng.random((60, 7)))
        packed = packer.pack(value)
        assert packed.base is None
        assert len(packed.data) <= 1.01 * len(value)


def test_what_is_remembered_is_bounded() -> None:
    packer, rng = Packer(), np.random.default_rng(0)
    for size in range(100, 100 + 3 * LAYOUTS):
        for _ in range(2 * BASES):
            packer.pack(encode(rng.random(size)))
    assert len(packer._bases) == LAYOUTS
    assert all(len(bases) == BASES for bases in packer._bases.values())


KEYS = [InputKeys("one").key([np.float32([number])]) for number in range(300)]


@pytest.mark.parametrize("entries", [300, 40, 3])
def test_bytes_are_counted_while_somebody_needs_them(entries: int) -> None:
    level = CompressedLevel(LRU(), entries, 1 << 20, Clock())
    values = market(300)
    for number in np.random.default_rng(0).permutation(600) % 300:
        level.put(KEYS[number], values[number])
    kept = [entry.item for key in KEYS if (entry := level._store.find(key)) is not None]
    needed = {id(one): one for packed in kept for one in (packed, packed.base) if one is not None}
    counts = level.counts()
    assert counts.entries == len(kept) == entries
    assert counts.bytes == entries * ENTRY_BYTES + held(list(needed.values()))
    for number in range(300):
        found = level.get(KEYS[number])
        assert found is None or found.data == values[number]
    level.discard_prefix(KEYS[0][:16])
    assert level.counts()[4:6] == (0, 0)


def test_the_limit_in_bytes_holds_with_shared_ones() -> None:
    level = CompressedLevel(LRU(), 1000, 20_000, Clock())
    for key, value in zip(KEYS, market(300), strict=True):
        level.put(key, value)
        size = level.counts().bytes
        assert size is not None
        assert size <= 20_000
    assert level.holds(KEYS[-1])
    assert not level.holds(KEYS[0])


def test_threads_pack_at_once() -> None:
    level = CompressedLevel(LRU(), 50, 1 << 20, Clock())
    values, wrong = market(300), list[int]()

    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 300, 300):
            found = level.get(KEYS[number])
            if found is None:
                level.put(KEYS[number], values[number])
            elif found.data != values[number]:
                wrong.append(int(number))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    level.clear()
    assert level.counts().bytes == 0
