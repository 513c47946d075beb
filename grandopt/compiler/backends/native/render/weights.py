"""All constants of an agent as one block of bytes, each array aligned; equal arrays are stored once."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

from grandopt.compiler.backends.native.form import Op
from grandopt.compiler.backends.native.memory import ALIGNMENT
from grandopt.signature import Array

Precision = Literal["float32", "bfloat16"]
"""How the weights of products are stored; they are added up in float32."""

PANEL = 64
"""Columns of a weight panel: 4 AVX-512, 8 AVX2 or 16 NEON registers."""
GRANULE = 16
"""The last panel is this wide, or a multiple: one AVX-512 register."""


FEWEST_INPUTS, FEWEST_WEIGHTS = 32, 4096
"""What counts as a large product where the inputs, too, are rounded to bfloat16."""
SECOND_CACHE = 1 << 20
"""Weights of more bytes in all do not stay in the second cache from one call to the next."""
MACS_PER_BYTE = 8
"""Multiply-adds in whose time a byte comes from the third cache, with as much again to spare."""


class Weights:
    """Grows while code is rendered; C text refers to arrays by their offset.

    Arrays lie in the order of their first use. `total` is what they will be in bytes, about. The weights of
    the ops in `exact` are stored in float32, whatever the precision of the others.
    """

    def __init__(
        self, precision: Precision = "float32", total: int = 0, exact: frozenset[Op] = frozenset()
    ) -> None:
        self._precision, self._exact = precision, exact
        self._total = total
        self._asked = 0
        self._offsets: dict[tuple[str, bytes], int] = {}
        self._blocks: list[bytes] = []
        self._size = 0

    def pointer(self, array: Array) -> str:
        """The array's address as C text."""
        return f"weights + {self._offset(array)}"

    def precision(self, op: Op) -> Precision:
        """How the weights of a product or recurrence are stored."""
        return "float32" if op in self._exact else self._precision

    def rewind(self) -> None:
        """A new forward pass begins: nothing has been asked for yet."""
        self._asked = 0

    def ahead(self, array: Array, used: int, macs: int) -> tuple[str, int]:
        """What to ask for while a product of `macs` multiply-adds works through `array`.

        Returned are the address as C text and the number of bytes: what follows the first `used` bytes and
        was not asked for before, as much as there is time for, into the arrays that come next. 0 bytes where
        all weights stay in the second cache.
        """
        if self._total <= SECOND_CACHE:
            return "", 0
        own = self._offset(array)
        start = max(self._asked, own + used)
        room = own + array.nbytes + SECOND_CACHE
        end = min(start + macs // MACS_PER_BYTE, room, self._total)
        self._asked = max(start, end)
        return f"weights + {start}", max(0, end - start)

    def _offset(self, array: Array) -> int:
        data = np.ascontiguousarray(array).tobytes()
        key = (array.dtype.name, hashlib.sha256(data).digest())
        if key not in self._offsets:
            self._offsets[key] = self._size
            padding = -len(data) % ALIGNMENT
            self._blocks.append(data + bytes(padding))
            self._size += len(data) + padding
        return self._offsets[key]

    def content(self) -> bytes:
        """The bytes; one padded block at least, so that the symbol exists."""
        return b"".join(self._blocks) or bytes(ALIGNMENT)


def pairs_pay(outputs: int, inputs: int) -> bool:
    """Whether a product over bfloat16 weights is worth rounding its inputs for, where a level has dot
    products of pairs: those of smaller ones are over before that has paid, and stay in float32."""
    return inputs >= FEWEST_INPUTS and outputs >= GRANULE and outputs * inputs >= FEWEST_WEIGHTS


def panels(weight: Array, precision: Precision = "float32", columns: int = PANEL) -> Array:
    """[N, K] as panels of so many columns, each [K, columns], one after another; missing columns are zero.

    In bfloat16 two rows share 32-bit words, see `paired`.
    """
    count, depth = weight.shape
    blocks = []
    for start in range(0, count, columns):
        part = weight[start : start + columns]
        width = min(columns, -(-part.shape[0] // GRANULE) * GRANULE)
        block = np.zeros((depth, width), weight.dtype)
        block[:, : part.shape[0]] = part.T
        blocks.append(block.reshape(-1) if precision == "float32" else paired(block[np.newaxis], width))
    return np.concatenate(blocks)


def side_by_side(weight: Array) -> Array:
    """[N, K] in bfloat16 as panels like those of `panels`, but with two columns of an input to a word.

    Of 32 columns the first 16 are in the lower halves; missing columns are zero.
    """
    blocks = []
    for start in range(0, weight.shape[0], PANEL):
        part = weight[start : start + PANEL]
        filled = np.pad(part, ((0, -part.shape[0] % (2 * GRANULE)), (0, 0)))
        halves = filled.T.reshape(weight.shape[1], -1, 2, GRANULE)  # of each input, of each 32 columns
        blocks.append(paired(halves.reshape(-1, 2, GRANULE), GRANULE))
    return np.concatenate([block.reshape(-1) for block in blocks])


def byte_rows(weight: Array) -> Array:
    """[N, K] int8 as panels [K, PANEL], for `words_of_rows`: column 16·v + 4·l + i is byte 16·l + 4·v + i.

    Missing columns are zero.
    """
    filled = np.pad(weight, ((0, -weight.shape[0] % PANEL), (0, 0)))
    split = filled.reshape(-1, 4, 4, 4, weight.shape[1])  # panel, v, l, i, input
    return np.ascontiguousarray(split.transpose(0, 4, 2, 1, 3)).reshape(-1)


def tile_columns(weight: Array) -> Array:
    """[N, K] in bfloat16 as the right-hand tiles of products: for each 16 columns, for each 32 rows of
    [K, N] one tile of 16 words (see `paired`) by 16 columns; what is missing is zero.
    """
    count, depth = weight.shape
    block = np.zeros((-(-count // GRANULE) * GRANULE, -(-depth // 32) * 32), weight.dtype)
    block[:count, :depth] = weight
    columns = block.reshape(-1, GRANULE, block.shape[1]).transpose(0, 2, 1)
    return paired(columns, GRANULE)


def paired(blocks: Array, columns: int) -> Array:
    """Blocks [depth, columns] of float32 as bfloat16, rounded to nearest even, two rows to a 32-bit word.

    `blocks` holds one block after another as `[blocks, depth, columns]`; the row of an even index is in the
    lower half. An odd depth is filled up with zeros.
    """
    count, depth, _ = blocks.shape
    even = np.zeros((count, depth + depth % 2, columns), np.float32)
    even[:, :depth] = blocks
    bits = even.view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint32)
    rounded = np.where(np.isnan(even), np.uint32(0x7FC0), rounded)
    return (rounded[:, 0::2] | (rounded[:, 1::2] << 16)).reshape(-1)


def padded(vector: Array, multiple: int = PANEL) -> Array:
    """The vector, zeros appended up to a multiple."""
    return np.pad(vector, (0, -vector.size % multiple))
