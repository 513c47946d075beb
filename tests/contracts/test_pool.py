"""What every kind of pooled memory promises."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from _pytest.fixtures import FixtureRequest

from grandopt.errors import ConfigError, MemoryPoolError
from grandopt.runtime.memory.blocks.arrays import ArrayBlocks
from grandopt.runtime.memory.blocks.base import ALIGNMENT, Blocks
from grandopt.runtime.memory.blocks.buffers import RAW, BufferBlocks
from grandopt.runtime.memory.blocks.tensors import DeviceTensorBlocks, TensorBlocks, tensor_blocks
from grandopt.runtime.memory.break_even import ALWAYS, PoolBreakEven
from grandopt.runtime.memory.pool import LEAST, Pool

LIMIT = 1 << 20


class Kind:
    """One kind of blocks, and how a test reads and writes its values."""

    def __init__(self, blocks: Blocks[Any], dtype: str, other: str | None) -> None:
        self.blocks = blocks
        self.dtype = dtype
        self.other = other

    @property
    def item(self) -> int:
        return self.blocks.item_bytes(self.dtype)

    def pool(self, limit: int = LIMIT, worth: PoolBreakEven = ALWAYS, *, debug: bool = False) -> Pool[Any]:
        return Pool(self.blocks, limit, worth, debug=debug)


KINDS = {
    "array": Kind(ArrayBlocks(), "float32", "int64"),
    "buffer": Kind(BufferBlocks(), RAW, None),
    "tensor": Kind(TensorBlocks(), "bfloat16", "int64"),
}


@pytest.fixture(params=list(KINDS))
def kind(request: FixtureRequest) -> Kind:
    return KINDS[request.param]


def flat(value: Any) -> Any:
    """The bytes of a value as an array that shares its memory."""
    if isinstance(value, torch.Tensor):
        return value.view(-1).view(torch.uint8).numpy()
    if isinstance(value, memoryview):
        return np.frombuffer(value, np.uint8)
    return value.reshape(-1).view(np.uint8)


def address(value: Any) -> int:
    found: int = flat(value).ctypes.data
    return found


@pytest.mark.parametrize("shape", [1, 15, 16, 17, 1000, (3, 5), (2, 3, 4)])
def test_a_lease_has_its_shape_and_is_aligned(kind: Kind, shape: int | tuple[int, ...]) -> None:
    for worth in (ALWAYS, PoolBreakEven(None, "never")):
        with kind.pool(worth=worth).lease(shape, kind.dtype) as value:
            assert tuple(value.shape) == (shape if isinstance(shape, tuple) else (shape,))
            assert address(value) % ALIGNMENT == 0
            flat(value)[:] = 7
            assert flat(value).size == np.prod(shape) * kind.item


def test_buckets_are_powers_of_two_from_sixteen(kind: Kind) -> None:
    pool = kind.pool()
    for elements in (1, 16, 17, 32, 33, 1000):
        pool.lease(elements, kind.dtype).give_back()
    stats = pool.stats()
    assert [bucket.elements for bucket in stats.buckets] == [LEAST, 32, 64, 1024]
    assert [bucket.pieces for bucket in stats.buckets] == [1, 1, 1, 1]
    assert (stats.allocated, stats.reused) == (4, 2)
    assert stats.idle_bytes == (16 + 32 + 64 + 1024) * kind.item
    assert {bucket.device for bucket in stats.buckets} == {"cpu"}


def test_returned_memory_is_lent_again(kind: Kind) -> None:
    pool = kind.pool()
    lease = pool.lease(100, kind.dtype)
    first = address(lease.value)
    lease.give_back()
    with pool.lease((10, 10), kind.dtype) as value:
        assert address(value) == first
    assert (pool.stats().reused, pool.stats().leases) == (1, 0)


def test_dtypes_do_not_share_buckets(kind: Kind) -> None:
    if kind.other is None:
        pytest.skip("raw buffers have one dtype")
    pool = kind.pool()
    pool.lease(64, kind.dtype).give_back()
    with pool.lease(64, kind.other):
        assert pool.stats().reused == 0


def test_live_leases_never_share_memory(kind: Kind) -> None:
    pool = kind.pool()
    for _ in range(3):
        leases = [pool.lease(50 + number, kind.dtype) for number in range(8)]
        for number, lease in enumerate(leases):
            flat(lease.value)[:] = number
        assert [set(flat(lease.value).tolist()) for lease in leases] == [{number} for number in range(8)]
        for lease in leases:
            lease.give_back()


def test_memory_that_is_still_looked_at_is_not_lent_again(kind: Kind) -> None:
    pool = kind.pool()
    with pool.lease(64, kind.dtype) as value:
        kept = flat(value)[8:16]
        kept[:] = 5
        first = address(value)
    del value
    with pool.lease(64, kind.dtype) as other:
        flat(other)[:] = 9
        assert address(other) != first
    assert kept.tolist() == [5] * 8
    places = pool.stats().viewed
    assert len(places) == (1 if kind.blocks.kind == "buffer" else 2)  # a buffer's own end ends `other`
    assert all(place.startswith(__file__) for place in places)
    del kept, other
    assert pool.stats().viewed == ()
    with pool.lease(64, kind.dtype), pool.lease(64, kind.dtype):
        assert pool.stats().reused == 2


def test_views_that_stay_cost_a_bounded_number_of_pieces(kind: Kind) -> None:
    pool = kind.pool()
    kept = []
    for _ in range(40):
        with pool.lease(16, kind.dtype) as value:
            kept.append(flat(value))
    stats = pool.stats()
    assert sum(bucket.pieces for bucket in stats.buckets) <= 9
    assert stats.seen == 40 - sum(bucket.pieces for bucket in stats.buckets)
    assert len({array.ctypes.data for array in kept}) == 40


def test_the_limit_holds_and_the_least_recently_used_go_first(kind: Kind) -> None:
    size = 64 * kind.item
    pool = kind.pool(limit=3 * size)
    for elements in (64, 32, 16):  # together less than the limit
        pool.lease(elements, kind.dtype).give_back()
    pool.lease(64, kind.dtype).give_back()  # the largest was used last
    with pool.lease(128, kind.dtype):
        stats = pool.stats()
        assert [bucket.elements for bucket in stats.buckets] == [64]
        assert (stats.trimmed, stats.leased_bytes, stats.idle_bytes) == (2, 2 * size, size)
        with pytest.raises(MemoryPoolError, match="no room for"):
            pool.lease(128, kind.dtype)
    assert pool.stats().leases == 0


def test_a_lost_lease_is_found_with_its_place(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    pool = kind.pool()
    lease = pool.lease(100, kind.dtype)
    value = lease.value
    flat(value)[:] = 3
    del lease
    stats = pool.stats()
    assert (stats.leaked, stats.leases, stats.leased_bytes, stats.idle_bytes) == (1, 0, 0, 0)
    assert stats.leaked_bytes == 128 * kind.item
    assert __file__ in stats.leaks[0].place
    assert "dropped without being returned" in caplog.text
    with pool.lease(100, kind.dtype) as other:
        flat(other)[:] = 4
    assert set(flat(value).tolist()) == {3}


def test_a_lease_that_ends_with_an_exception_is_returned(kind: Kind) -> None:
    pool = kind.pool()
    with pytest.raises(ZeroDivisionError), pool.lease(64, kind.dtype) as value:
        flat(value)[:] = 1 // 0
    assert (pool.stats().leases, pool.stats().leaked) == (0, 0)


def test_a_returned_lease_is_over(kind: Kind) -> None:
    pool = kind.pool()
    lease = pool.lease(64, kind.dtype)
    lease.give_back()
    with pytest.raises(MemoryPoolError, match="was returned"):
        _ = lease.value
    with pytest.raises(MemoryPoolError, match="returned before"):
        lease.give_back()
    with pytest.raises(MemoryPoolError, match="was returned"), lease:
        pass
    twice = pool.lease(64, kind.dtype)
    with pytest.raises(MemoryPoolError, match="returned before"), twice:
        twice.give_back()
    again = pool.lease(64, kind.dtype)

    def fails() -> None:
        with again:
            again.give_back()
            _ = 1 // 0

    with pytest.raises(ZeroDivisionError):  # not hidden by the second return
        fails()
    assert pool.stats().leases == 0
    assert pool.stats().allocated == 1


def test_where_it_does_not_pay_nothing_is_kept(kind: Kind) -> None:
    pool = kind.pool(worth=PoolBreakEven(1000 * kind.item, "measured"))
    pool.lease(999, kind.dtype).give_back()
    stats = pool.stats()
    assert (stats.unpooled, stats.allocated, stats.idle_bytes) == (1, 0, 0)
    pool.lease(1000, kind.dtype).give_back()
    stats = pool.stats()
    assert (stats.unpooled, stats.allocated, stats.idle_bytes) == (1, 1, 1024 * kind.item)
    assert stats.break_even.reason == "measured"


def test_debug_finds_what_was_written_after_the_return(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    pool = kind.pool(debug=True)
    lease = pool.lease(64, kind.dtype)
    stray = flat(lease.value)
    lease.give_back()
    stray[3] = 1
    del stray
    pool.lease(64, kind.dtype).give_back()
    assert pool.stats().overwritten == 1
    assert "written to after its return" in caplog.text
    assert __file__ in caplog.text
    pool.lease(64, kind.dtype).give_back()
    assert pool.stats().overwritten == 1


def test_values_end_with_their_lease_where_the_kind_can() -> None:
    with KINDS["array"].pool().lease(64, "float32") as array:
        pass
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with KINDS["buffer"].pool().lease(64, RAW) as buffer:
        pass
    with pytest.raises(ValueError, match="released"):
        buffer[0] = 1


def test_trimming_and_closing(kind: Kind) -> None:
    pool = kind.pool()
    for elements in (16, 32, 64):
        pool.lease(elements, kind.dtype).give_back()
    assert pool.trim(64 * kind.item) == 48 * kind.item
    out = pool.lease(16, kind.dtype)
    pool.close()
    assert pool.stats().idle_bytes == 0
    out.give_back()
    assert (pool.stats().idle_bytes, pool.stats().leases) == (0, 0)
    with pytest.raises(MemoryPoolError, match="closed"):
        pool.lease(64, kind.dtype)


def test_bad_input_is_one_error(kind: Kind) -> None:
    pool = kind.pool()
    for limit in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="at least 1 byte"):
            kind.pool(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot keep"):
        pool.trim(-1)
    with pytest.raises(ConfigError, match="cannot pay"):
        PoolBreakEven(-1, "")
    with pytest.raises(MemoryPoolError, match="'float3' are unknown"):
        pool.lease(4, "float3")
    for shape in (0, -1, (3, 0), 2.0, "a", True, (4, None)):
        with pytest.raises(MemoryPoolError, match="positive whole numbers"):
            pool.lease(shape, kind.dtype)  # type: ignore[arg-type]
    assert pool.stats().leases == 0


def test_memory_that_the_system_lacks_is_an_error_and_no_lease(kind: Kind) -> None:
    pool = kind.pool(limit=1 << 62)
    with pytest.raises(MemoryPoolError, match="the system has no"):
        pool.lease(1 << 58, kind.dtype)
    assert (pool.stats().leases, pool.stats().leased_bytes) == (0, 0)


def test_threads_do_not_disturb_each_other(kind: Kind) -> None:
    pool = kind.pool(limit=1 << 16)
    wrong: list[int] = []

    def work(number: int) -> None:
        for step in range(150):
            lease = pool.lease(20 + (step * 7 + number) % 100, kind.dtype)
            bytes_ = flat(lease.value)
            bytes_[:] = number
            if step % 10 == 0:
                pool.stats()
            if set(bytes_.tolist()) != {number}:
                wrong.append(number)
            if step % 50 == 49:
                continue  # lost
            lease.give_back()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stats = pool.stats()
    assert wrong == []
    assert (stats.leases, stats.leased_bytes, stats.leaked) == (0, 0, 12)
    assert stats.reused + stats.allocated == 600


def test_devices_of_torch_share_one_contract() -> None:
    # "meta" is a device without memory that every torch has: what a lease is made of is the same.
    pool = Pool(DeviceTensorBlocks("meta"), LIMIT, ALWAYS)
    with pool.lease((3, 5), "float16") as value:
        assert (value.device.type, value.dtype, tuple(value.shape)) == ("meta", torch.float16, (3, 5))
        kept = value[1:]
    del value
    pool.lease(15, "float16").give_back()
    assert pool.stats().reused == 0  # still looked at
    del kept
    with pool.lease(15, "float16"), pool.lease(15, "float16"):
        assert pool.stats().reused == 2
    assert pool.stats().buckets[0].device == "meta"
    assert isinstance(tensor_blocks(), TensorBlocks)
    with pytest.raises(MemoryPoolError, match="no pool on device 'nowhere'"):
        tensor_blocks("nowhere")
