"""Keys of cached answers: which artifact, and exactly which inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xxhash

from grandopt.errors import SignatureError
from grandopt.signature import Array

_FLOAT32 = np.dtype(np.float32)
_digest: Callable[[Any, int], bytes] = xxhash.xxh3_128_digest  # arrays are buffers, typed so from 3.12 on
PREFIX_BYTES = 16
"""Bytes at the start of a key that name the artifact."""


def prefix_of(digest: str) -> bytes:
    """What all keys of the artifact with this digest begin with: PREFIX_BYTES bytes."""
    return xxhash.xxh3_128_digest(digest.encode())


class InputKeys:
    """Makes the keys of one artifact: its prefix, then 128 bits over dtypes, shapes and bytes of the inputs.

    Inputs are equal if their bytes are: -0.0 and 0.0, or two kinds of NaN, have different keys, which costs
    a computation and is never wrong. XXH3 is no defence against somebody who chooses inputs to collide; by
    accident, two of 10^12 inputs meet with a probability of 10^-15. Thread safety: any thread may call `key`.
    """

    def __init__(self, digest: str) -> None:
        self._prefix = prefix_of(digest)
        self._seeds: dict[tuple[object, ...], int] = {}
        self._float32: dict[tuple[int, ...], int] = {}

    def key(self, inputs: Sequence[Array]) -> bytes:
        """The key of one call's input arrays; those that are not C-contiguous are copied first.

        Raises SignatureError for arrays of Python objects, whose bytes say nothing of their values.
        """
        if len(inputs) == 1 and inputs[0].dtype is _FLOAT32:  # hashing a dtype costs as much as all the rest
            seed = self._float32.get(inputs[0].shape)
            if seed is not None:
                try:
                    return self._prefix + _digest(inputs[0], seed)
                except ValueError:  # not C-contiguous
                    return self._general(inputs)
        return self._general(inputs)

    def _general(self, inputs: Sequence[Array]) -> bytes:
        kinds = tuple(part for array in inputs for part in (array.dtype, array.shape))
        seed = self._seeds.get(kinds)
        if seed is None:
            seed = self._seeds[kinds] = _seed(inputs)
            if kinds[:1] == (_FLOAT32,) and len(inputs) == 1:
                self._float32[inputs[0].shape] = seed
        state = xxhash.xxh3_128(seed=seed)
        for array in inputs:
            state.update(np.ascontiguousarray(array).data)
        return self._prefix + state.digest()


def _seed(inputs: Sequence[Array]) -> int:
    """64 bits that differ for other dtypes (with their byte order) and shapes."""
    for array in inputs:
        if array.dtype.hasobject:
            raise SignatureError(f"an array of dtype {array.dtype} has no key: convert it to numbers first")
    described = ";".join(f"{array.dtype.str}{list(array.shape)}" for array in inputs)
    return int(xxhash.xxh3_64_intdigest(described.encode()))
