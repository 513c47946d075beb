"""Keys of cached answers: which artifact, and exactly which inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xxhash

from grandopt.errors import SignatureError
from grandopt.signature import Array

PREFIX_BYTES = 16
"""Bytes at the start of a key that name the artifact."""
HEAD_BYTES = PREFIX_BYTES + 8
"""Those with the digest of the inputs' dtypes and shapes."""
LAYOUTS = 1024
"""Dtypes and shapes whose part of the key is remembered, at most."""
_FLOAT32 = np.dtype(np.float32)
_digest: Callable[[Any], bytes] = xxhash.xxh3_128_digest  # arrays are buffers, typed so from 3.12 on


def prefix_of(digest: str) -> bytes:
    """What all keys of the artifact with this digest begin with: PREFIX_BYTES bytes."""
    return xxhash.xxh3_128_digest(digest.encode())


class InputKeys:
    """Makes the keys of one artifact: its prefix, 64 bits of the inputs' dtypes and shapes, and 128 bits of
    their bytes.

    Inputs are equal if their bytes are: -0.0 and 0.0, or two kinds of NaN, have different keys, which costs
    a computation and is never wrong. XXH3 is no defence against somebody who chooses inputs to collide; by
    accident, two of 10^12 inputs meet with a probability of 10^-15. Keys that are `marked` differ from those
    that are not. Thread safety: any thread may call anything.
    """

    one: Callable[[Array], bytes]
    """`key` of a single array, in as few steps as it can be done."""

    def __init__(self, digest: str, marked: str = "") -> None:
        self.prefix = prefix_of(digest)
        self._marked = marked
        self._heads: dict[tuple[object, ...], bytes] = {}
        self._shapes: dict[bytes, tuple[int, ...]] = {}
        self._float32: dict[tuple[int, ...], bytes] = {}
        self.one = self._maker()

    def key(self, inputs: Sequence[Array]) -> bytes:
        """The key of one call's input arrays; those that are not C-contiguous are copied first.

        Raises SignatureError for arrays of Python objects, whose bytes say nothing of their values.
        """
        if len(inputs) == 1:
            return self.one(inputs[0])
        head = self._head(inputs)
        try:
            return head + _digest(b"".join(inputs))  # type: ignore[arg-type]  # arrays are buffers
        except TypeError:  # not C-contiguous
            return head + _digest(b"".join([array.tobytes() for array in inputs]))

    def shape_of(self, key: bytes) -> tuple[int, ...] | None:
        """The shape of the first input of a key that was made here; None where it is not remembered."""
        return self._shapes.get(key[:HEAD_BYTES])

    def representative(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The inputs whose answer stands for all inputs of this key: themselves."""
        return inputs

    def _maker(self) -> Callable[[Array], bytes]:
        heads, float32, digest, general = self._float32.get, _FLOAT32, _digest, self._general

        def one(array: Array) -> bytes:
            if array.dtype is float32:  # hashing a dtype costs as much as all the rest
                head = heads(array.shape)
                if head is not None:
                    try:
                        return head + digest(array)
                    except ValueError:  # not C-contiguous
                        return head + digest(array.tobytes())
            return general(array)

        return one

    def _general(self, array: Array) -> bytes:
        head = self._head((array,))
        if array.dtype is _FLOAT32 and len(self._float32) < LAYOUTS:
            self._float32[array.shape] = head
        return head + _digest(array.tobytes())

    def _head(self, inputs: Sequence[Array]) -> bytes:
        """The prefix, and what differs for other dtypes (with their byte order) and shapes."""
        kinds = tuple([part for array in inputs for part in (array.dtype, array.shape)])
        head = self._heads.get(kinds)
        if head is None:
            head = self.prefix + _layout(inputs, self._marked)
            if len(self._heads) < LAYOUTS:
                self._heads[kinds] = head
                self._shapes[head] = inputs[0].shape if inputs else ()
        return head


def _layout(inputs: Sequence[Array], marked: str) -> bytes:
    for array in inputs:
        if array.dtype.hasobject:
            raise SignatureError(f"an array of dtype {array.dtype} has no key: convert it to numbers first")
    described = ";".join(f"{array.dtype.str}{list(array.shape)}" for array in inputs)
    return xxhash.xxh3_64_digest((described + marked).encode())
