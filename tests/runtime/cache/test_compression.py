"""Zstandard with byte shuffling."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from grandopt.runtime.cache.codec import encode
from grandopt.runtime.cache.compression import compress, decompress


@given(st.binary(max_size=300), st.integers(1, 40))
def test_everything_comes_back_and_grows_by_one_byte_at_most(data: bytes, times: int) -> None:
    packed = compress(data * times)
    assert decompress(packed) == data * times
    assert len(packed) <= len(data * times) + 1


def test_noise_is_stored_as_it_is() -> None:
    data = np.random.default_rng(0).bytes(10_000)
    assert compress(data) == b"\0" + data


def test_shuffling_is_used_where_it_helps() -> None:
    rng = np.random.default_rng(0)
    floats = encode((100 + np.cumsum(rng.normal(0, 0.01, 2000))).astype(np.float32))
    doubles = encode(np.arange(2000, dtype=np.float64))
    assert compress(floats)[0] == 4
    assert compress(doubles)[0] == 8
    assert compress(b"the same words again and again " * 50)[0] == 1


def test_threads_compress_at_once() -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        for number in range(100):
            data = encode(np.full(500, seed * 1000 + number, np.float32))
            if decompress(compress(data)) != data:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
