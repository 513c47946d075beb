"""The arrays that Orbax wrote into a folder: Zarr 2, in an OCDBT store or as files of their own."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from grandopt import limits
from grandopt.compiler.checkpoints.frameworks.brax import ocdbt
from grandopt.errors import CheckpointError
from grandopt.signature import Array

HEADER, ZARR_3 = ".zarray", "zarr.json"
DTYPES = {
    **{f"<f{size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"<{kind}{size}": f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)},
    "|b1": "|b1", "|i1": "|i1", "|u1": "|u1", "bfloat16": "<u2",
}  # fmt: skip
"""What a header calls the numbers, and how NumPy reads them; bfloat16 is widened from its bits."""

GZIP = 16 + zlib.MAX_WBITS
MOST_HEADER = 1 << 16
"""Bytes of the header of one array."""

MOST_DIMENSIONS = 8
LARGEST = 1 << 40
"""What a size may be at most, so that products of them stay small numbers."""


class Arrays:
    """The arrays of a folder by their names, such as "1.params.hidden_0.kernel"; each is read when asked for.

    `contents` are the files by their names relative to it. Raises CheckpointError, which `where` begins, for
    a folder that holds none, or whose store is damaged.
    """

    def __init__(self, contents: Mapping[str, bytes], where: str) -> None:
        self._where = where
        self._values: Mapping[str, bytes | memoryview] = contents
        if ocdbt.MANIFEST in contents:
            self._values = ocdbt.entries(contents, where)
        self.names = tuple(
            key.removesuffix(f"/{HEADER}") for key in self._values if key.endswith(f"/{HEADER}")
        )
        if not self.names:
            three = any(key.endswith(f"/{ZARR_3}") for key in self._values)
            what = "arrays in Zarr 3, which is not read here" if three else "no arrays that Orbax wrote"
            raise CheckpointError(f"{where}: holds {what}")
        self._left = limits.inflated(sum(map(len, contents.values())))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the array; raises CheckpointError where its header is none."""
        return self._layout(name)[0]

    def array(self, name: str) -> Array:
        """The array of that name, in the byte order of the machine; bfloat16 comes as float32.

        Raises CheckpointError where it is missing, damaged, or of a kind that is not read.
        """
        shape, chunks, dtype, packing = self._layout(name)
        stored = np.dtype(DTYPES[dtype])
        size = math.prod(chunks) * stored.itemsize
        counts = [-(-whole // part) for whole, part in zip(shape, chunks, strict=True)]
        self._left -= (math.prod(counts) + 1) * size
        if self._left < 0 or math.prod(counts) > limits.MEMBERS:
            raise self._damaged(name, f"it has {list(shape)} numbers in parts of {list(chunks)}")
        found = np.empty(shape, stored)
        for index in itertools.product(*map(range, counts)):
            part = self._part(name, index, size, packing)
            block = np.frombuffer(part, stored).reshape(chunks)
            place = tuple(
                slice(at * step, min((at + 1) * step, whole))
                for at, step, whole in zip(index, chunks, shape, strict=True)
            )
            found[place] = block[tuple(slice(0, at.stop - at.start) for at in place)]
        if dtype == "bfloat16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(stored.newbyteorder("="))

    def _part(self, name: str, index: tuple[int, ...], size: int, packing: str | None) -> bytes | memoryview:
        """The `size` bytes of one part of an array."""
        key = f"{name}/{'.'.join(map(str, index)) or '0'}"
        packed = self._values.get(key)
        if packed is None:
            raise self._damaged(name, f"its part {key.rpartition('/')[2]} is missing")
        match packing:
            case None:
                part: bytes | memoryview = packed
            case "zstd":
                part = ocdbt.inflated(packed, size, f"{self._where}: array {name!r}")
            case _:
                part = self._deflated(name, packed, size, packing)
        if len(part) != size:
            raise self._damaged(name, f"a part of it has {len(part):,} bytes, not {size:,}")
        return part

    def _deflated(self, name: str, packed: bytes | memoryview, size: int, packing: str) -> bytes:
        try:
            return zlib.decompressobj(GZIP if packing == "gzip" else zlib.MAX_WBITS).decompress(
                packed, size + 1
            )
        except zlib.error as error:
            raise self._damaged(name, str(error)) from error

    def _layout(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...], str, str | None]:
        """Shape, shape of a part, dtype and packing of an array."""
        raw = self._values.get(f"{name}/{HEADER}")
        if raw is None:
            raise CheckpointError(f"{self._where}: there is no array {name!r}")
        try:
            header = limits.document(bytes(raw[:MOST_HEADER]))
        except ValueError as error:
            raise self._damaged(name, f"its header is no JSON: {error}") from error
        if not isinstance(header, dict):
            raise self._damaged(name, "its header is no JSON object")
        shape, chunks = self._sizes(name, header, "shape", 0), self._sizes(name, header, "chunks", 1)
        compressor = header.get("compressor")
        packing = compressor.get("id") if isinstance(compressor, dict) else compressor
        kinds = (header.get("zarr_format"), header.get("order"), header.get("filters"))
        dtype = header.get("dtype")
        if (
            kinds != (2, "C", None)
            or packing not in (None, "zstd", "zlib", "gzip")
            or len(shape) != len(chunks)
        ):
            raise self._damaged(name, f"its layout is not known here: {header!r:.200}")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise self._damaged(name, f"it is of {dtype!r:.40}, none of {', '.join(DTYPES)}")
        return shape, chunks, dtype, packing

    def _sizes(self, name: str, header: dict[str, Any], field: str, least: int) -> tuple[int, ...]:
        sizes = header.get(field)
        if not isinstance(sizes, list) or len(sizes) > MOST_DIMENSIONS:
            raise self._damaged(name, f"its {field} is {sizes!r:.80}")
        if not all(type(size) is int and least <= size < LARGEST for size in sizes):
            raise self._damaged(name, f"its {field} is {sizes!r:.80}")
        return tuple(sizes)

    def _damaged(self, name: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self._where}: array {name!r:.80} cannot be read: {what}")
