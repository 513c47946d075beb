"""What the rows of a query attend to: its sizes, which of it is computed, and how it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grandopt.compiler.backends.native.form import Attention
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT
from grandopt.compiler.backends.native.render.text import literal, loop
from grandopt.compiler.backends.native.visible import Visible, visible
from grandopt.signature import Array

TALL, LOW = 12, 6
"""Rows of the query at a time with 32 registers, and with 16."""
FEWEST_PAIRED = 2048
"""Multiply-adds of a head from which rounding has paid."""
MOST_COMPUTED = 0.85
"""Where more of the scores than that have to be computed, the others are, too."""
LARGEST = 3.4e38
"""The largest magnitude of values which weights of 0 make 0."""

Distances = tuple[int, int]
"""Of the rows and of the columns of a matrix."""


@dataclass(frozen=True)
class AttentionHead:
    """One matrix of the leading axes: C pointers to query, keys, values, output and extras, and distances."""

    op: Attention
    level: IsaLevel
    pointers: tuple[str, ...]
    strides: tuple[Distances, ...]
    output_row: int
    extra_strides: tuple[Distances, ...]
    wants_pairs: bool
    whole: bool = False
    """Whether everything is computed: what may be skipped depends on numbers."""

    @property
    def rows(self) -> int:
        """Rows of the query."""
        return self.op.query.shape[-2]

    @property
    def depth(self) -> int:
        """Elements of a row of the query, and of a key."""
        return self.op.query.shape[-1]

    @property
    def keys(self) -> int:
        """How many there are."""
        return self.op.keys.shape[-1]

    @property
    def columns(self) -> int:
        """Elements of a value."""
        return self.op.values.shape[-1]

    @property
    def paired(self) -> bool:
        """Whether the products are of pairs of bfloat16 numbers."""
        return self.wants_pairs and self.rows * self.keys * self.depth >= FEWEST_PAIRED

    @property
    def tall(self) -> int:
        """Rows of the query at a time."""
        most = TALL if self.level.registers > 16 else LOW
        return -(-self.rows // -(-self.rows // most))

    @property
    def turned(self) -> bool:
        """Whether the keys have to be laid out anew."""
        return self.paired or self.strides[1][-1] != 1

    def wide(self, rows: int, columns: int) -> int:
        """Vectors of a block of so many rows."""
        held = max(1, (self.level.registers - 1) // (rows + 1))
        return min(held, IN_FLIGHT, -(-columns // self.level.lanes))

    def padded(self, count: int) -> int:
        """Up to a multiple of what one vector holds."""
        return -(-count // self.level.lanes) * self.level.lanes

    @property
    def pair_words(self) -> int:
        """Words of a row of the query in pairs: what stores of whole vectors fill."""
        return self.padded(-(-self.depth // 2))

    @cached_property
    def skipping(self) -> tuple[Visible, Array] | None:
        """What can be seen, and [groups of rows, 2]: the first key of each and the one behind the last."""
        found = None if self.whole else visible(self.op)
        if found is None:
            return None
        starts = range(0, self.rows, self.tall)
        groups = [np.asarray(found.seen[start : start + self.tall].any(0)) for start in starts]
        ends = np.array([self._ends(seen) for seen in groups])
        computed = (ends[:, 1] - ends[:, 0]).mean() / self.keys
        return None if computed > MOST_COMPUTED else (found, ends)

    def _ends(self, seen: Array) -> tuple[int, int]:
        places = np.flatnonzero(seen)
        if not places.size:
            return 0, 0
        lanes = self.level.lanes
        return int(places[0] // lanes * lanes), int(min(self.keys, self.padded(int(places[-1]) + 1)))

    def laid_out(self) -> list[str]:
        """What is done once for all rows of the query."""
        query, keys, values, *_ = self.pointers
        lines = []
        if self.skipping is not None:
            bound = literal(self.skipping[0].bound, "float32")
            (along, across), turned = self.strides[1], self.strides[1][-1] != 1
            step, shape = (across, (self.keys, self.depth)) if turned else (along, (self.depth, self.keys))
            checks = [
                f"any_beyond({query}, {self.strides[0][0]}, {self.rows}, {self.depth}, {bound})",
                f"any_beyond({keys}, {step}, {shape[0]}, {shape[1]}, {bound})",
                f"any_beyond({values}, {self.strides[2][0]}, {self.keys}, {self.columns}, {LARGEST}f)",
            ]
            lines.append(f"const int all = {' || '.join(checks)};")
        if self.paired:
            return [*lines, *self._paired_keys(), *self._paired_values()]
        if self.turned:
            step = self.strides[1][-1]
            lines.append(
                f"turn(turned, {self.padded(self.keys)}, {keys}, {step}, {self.keys}, {self.depth});"
            )
        return lines

    def _paired_keys(self) -> list[str]:
        keys, (along, across), wide = self.pointers[1], self.strides[1], self.padded(self.keys)
        if across == 1:  # elements of two rows of the keys as they lie
            last = self.depth // 2
            return self._pairs_of_rows("(uint32_t *)turned", wide, keys, along, self.depth, self.keys, last)
        words = -(-self.depth // 2)
        rounding = (
            f"pairs_of_row(rows_of_keys + r * {self.pair_words}, {keys} + (j + r) * {across}, {self.depth});"
        )
        lanes = self.level.lanes

        def part(first: str, count: int) -> list[str]:
            source = f"(const float *)rows_of_keys, {self.pair_words}, {count}, {words}"
            return [
                *loop("r", count, [rounding.replace("(j + r)", f"({first} + r)")]),
                f"turn(turned + {first}, {wide}, {source});",
            ]

        whole = self.keys - self.keys % lanes
        lines = loop("j", whole, part("j", lanes), lanes) if whole else []
        return lines + (part(str(whole), self.keys - whole) if self.keys > whole else [])

    def _paired_values(self) -> list[str]:
        values, step = self.pointers[2], self.strides[2][0]
        wide, last = self.padded(self.columns), self.keys // 2
        return self._pairs_of_rows("value_pairs", wide, values, step, self.keys, self.columns, last)

    @staticmethod
    def _pairs_of_rows(
        to: str, to_step: int, rows: str, step: int, count: int, columns: int, whole: int
    ) -> list[str]:
        two = f"{rows} + 2 * t * {step}, {rows} + (2 * t + 1) * {step}"
        lines = (
            loop("t", whole, [f"pairs_of_two_rows({to} + t * {to_step}, {two}, {columns});"]) if whole else []
        )
        if count % 2:
            lines.append(
                f"pairs_of_one_row({to} + {whole * to_step}, {rows} + {2 * whole * step}, {columns});"
            )
        return lines
