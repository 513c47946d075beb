"""LSTM and GRU steps on AMX tiles: bfloat16 weights and state, accumulation in float32.

All samples of the tile go through a step together: they are the rows of the left-hand tiles, so the weights
are read once for all of them. A step multiplies first and combines the gates afterwards: what a tile
stored is best not read at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.form import CellKind, Recurrent
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.recurrent import GATES
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.tiles import COLUMNS, DEPTH, ROWS, TILE_WORDS, shapes
from grandopt.compiler.backends.native.render.weights import GRANULE, Weights, padded, tile_columns
from grandopt.compiler.backends.native.render.workspace import Workspace
from grandopt.signature import Array

WORTHWHILE = 1 << 14
"""Elements of a recurrent weight matrix from which tiles are faster than vectors."""


def worthwhile(level: IsaLevel, weights: Weights, op: Recurrent, samples: int) -> bool:
    """Whether the recurrence of so many samples should go through tiles at this level."""
    return (
        level.tiles
        and weights.precision(op) == "bfloat16"
        and samples <= ROWS  # they are the rows of one tile
        and op.weight.elements >= WORTHWHILE
    )


def gate_columns(weight: Array, gates: int) -> Array:
    """[gates · H, H] as tiles, see `weights.tile_columns`: the gates of 16 units side by side.

    A column tile of zeros is added where their number is odd.
    """
    hidden = weight.shape[1]
    blocks = -(-hidden // GRANULE)
    columns = np.zeros((blocks, gates, GRANULE, hidden), weight.dtype)
    for block in range(blocks):
        for gate in range(gates):
            units = slice(gate * hidden + block * GRANULE, gate * hidden + min((block + 1) * GRANULE, hidden))
            columns[block, gate, : units.stop - units.start] = weight[units]
    flat = columns.reshape(-1, hidden)
    return tile_columns(np.pad(flat, ((0, blocks * gates % 2 * GRANULE), (0, 0))))


@dataclass(frozen=True)
class _TileCell:
    """Sizes of the recurrence; texts refer to `w`, `state`, `sums`, `gate`, `cell` or `previous`, and `y`."""

    kind: CellKind
    hidden: int
    samples: int
    biased: bool

    @property
    def gates(self) -> int:
        """Gates of a unit."""
        return GATES[self.kind]

    @property
    def depth_tiles(self) -> int:
        """Tiles along the hidden state."""
        return -(-self.hidden // DEPTH)

    @property
    def pairs(self) -> int:
        """Pairs of column tiles."""
        return -(-self.gates * -(-self.hidden // GRANULE) // 2)

    @property
    def resident(self) -> bool:
        """Whether the whole state fits into tiles 0 to 3."""
        # 4 and 5 are accumulators, 6 and 7 hold weights: a state of more than 128 units is loaded again for
        # every pair of column tiles.
        return self.depth_tiles <= 4

    def product(self) -> list[str]:
        """sums[sample] = weight · state[sample]; `s` is the step."""
        width = self.depth_tiles * DEPTH
        load = [f"TILE_LOAD({k}, state + {k * DEPTH}, {2 * width});" for k in range(self.depth_tiles)]
        # Every other step goes backwards: what it used last is still in the nearest cache for the next.
        body = [
            f"const int b = s & 1 ? {self.pairs - 1} - a : a;",
            f"const uint32_t *const panel = w + b * {2 * self.depth_tiles * TILE_WORDS};",
            # Not from the projections: a GRU's third joins later, and a gate's last tile would read on into
            # the next gate where the units do not fill it.
            "TILE_ZERO(4);",
            "TILE_ZERO(5);",
            *self._depth(width),
            *(
                f"TILE_STORE({4 + c}, sums + b * {2 * COLUMNS} + {c * COLUMNS}, {self.pairs * 128});"
                for c in range(2)
            ),
        ]
        return [*(load if self.resident else []), *loop("a", self.pairs, body)]

    def _depth(self, width: int) -> list[str]:
        def step(left: int, k: str) -> list[str]:
            return [
                line
                for c in range(2)
                for line in (
                    f"TILE_LOAD({6 + c}, panel + ({k} + {c * self.depth_tiles}) * {TILE_WORDS}, 64);",
                    f"TILE_BF16({4 + c}, {left}, {6 + c});",
                )
            ]

        if self.resident:
            return [line for k in range(self.depth_tiles) for line in step(k, str(k))]
        load = f"TILE_LOAD(0, state + k * {DEPTH}, {2 * width});"
        return loop("k", self.depth_tiles, [load, *step(0, "k")])

    def units(self) -> list[str]:
        """The new state of all units of sample `t`."""
        whole, rest = divmod(self.hidden, GRANULE)
        lines = loop("u", whole, self._block("u", GRANULE)) if whole else []
        return lines + (self._block(str(whole), rest) if rest else [])

    def _block(self, block: str, valid: int) -> list[str]:
        lines = [f"const int unit = {block} * {GRANULE};"]
        sums = f"sums + t * {self.pairs * 2 * COLUMNS} + {block} * {self.gates * COLUMNS}"
        for gate in range(self.gates):
            parts = [f"v_load({sums} + {gate * COLUMNS})"]
            if not (self.kind == "gru" and gate == 2):  # its projection joins after the reset
                parts.append(_load(f"gate + {gate * self.hidden} + unit", valid))
            if self.biased:
                parts.append(f"v_load(bias + {gate * self.hidden} + unit)")
            lines.append(f"const vf g{gate} = {' + '.join(parts)};")
        if self.kind == "lstm":
            lines += [
                f"const vf keep = v_sigmoid(g1) * {_load('cell + unit', valid)};",
                "const vf c = v_fma(v_sigmoid(g0), v_tanh(g2), keep);",
                store("cell + unit", "c", valid, GRANULE),
                "const vf h = v_sigmoid(g3) * v_tanh(c);",
            ]
        else:
            projected = _load(f"gate + {2 * self.hidden} + unit", valid)
            lines += [
                f"const vf n = v_tanh(v_fma(v_sigmoid(g0), g2, {projected}));",
                f"const vf h = v_fma(v_sigmoid(g1), {_load('previous + unit', valid)} - n, n);",
            ]
        lines += [store("y + unit", "h", valid, GRANULE)]
        return ["{", *indent(lines), "}"]


def _load(pointer: str, valid: int) -> str:
    return f"v_load({pointer})" if valid == GRANULE else f"v_load_n({pointer}, {valid})"


def tile_recurrence(
    op: Recurrent,
    operands: Sequence[RenderedOperand],
    outputs: Sequence[RenderedOperand],
    weights: Weights,
    workspace: Workspace,
) -> list[str]:
    """All steps of all samples at once; operands are (gates, initial hidden[, initial cell]).

    `work` points to the workspace.
    """
    gates, *initial = operands
    sequence, *lasts = outputs
    samples, steps, hidden = sequence.shape
    weight, bias = op.weight.constant, op.bias.constant
    cell = _TileCell(op.cell, hidden, samples, bool(bias.any()))
    width = cell.depth_tiles * DEPTH
    # The state in bfloat16, rows padded to whole tiles, and a row of sums per sample, 4 bytes for each of the
    # 2 · 16 columns of a pair. Only this copy of the state is rounded: y and the cell stay in float32.
    places = workspace.layout(samples * width * 2, samples * cell.pairs * 128)
    packed = weights.pointer(gate_columns(weight, cell.gates))
    state = f"state + t * {width}"
    one = [
        f"const float *const gate = {gates.name} + t * {gates.strides[0]} + now * {gates.strides[1]};",
        f"float *const y = {sequence.name} + t * {sequence.strides[0]} + now * {sequence.strides[1]};",
        _previous(op, initial[0], lasts, sequence),
        *cell.units(),
        f"tile_rows({state}, y, 0, 1, {hidden});",
    ]
    step = [
        f"const int now = {f'{steps - 1} - s' if op.reverse else 's'};",
        *cell.product(),  # all of it before any unit is updated: each unit's gates read the whole old state
        *loop("t", samples, one),
    ]
    return [
        # State and accumulators have a row per sample, the weights in tiles 6 and 7 all their 16.
        shapes("shapes", [samples] * 6 + [ROWS] * 2),
        f"const uint32_t *const w = (const uint32_t *)({packed});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias))});",
        f"uint16_t *const state = (uint16_t *)(work + {places[0]});",
        f"float *const sums = (float *)(work + {places[1]});",
        "(void)bias;",
        *loop("t", samples, _begin(op, state, hidden, initial, lasts)),
        "TILES_BEGIN(shapes);",
        *loop("s", steps, step),
        "TILES_END();",
        *loop("t", samples, [_last(op, sequence, lasts[0])]),
    ]


def _begin(
    op: Recurrent,
    state: str,
    hidden: int,
    initial: Sequence[RenderedOperand],
    lasts: Sequence[RenderedOperand],
) -> list[str]:
    """The initial state of sample `t`; an LSTM's cell state lives where its last value is wanted."""
    lines = [f"tile_rows({state}, {initial[0].name} + t * {initial[0].strides[0]}, 0, 1, {hidden});"]
    if op.cell == "lstm":
        target, source = (f"{operand.name} + t * {operand.strides[0]}" for operand in (lasts[1], initial[1]))
        lines.append(f"memcpy({target}, {source}, {hidden} * sizeof(float));")
    return lines


def _previous(
    op: Recurrent, initial: RenderedOperand, lasts: Sequence[RenderedOperand], sequence: RenderedOperand
) -> str:
    """The state that the new one is computed from: an LSTM's cell, a GRU's hidden state in float32."""
    if op.cell == "lstm":
        return f"float *const cell = {lasts[1].name} + t * {lasts[1].strides[0]};"
    first = f"{initial.name} + t * {initial.strides[0]}"
    step = sequence.strides[1] if op.reverse else -sequence.strides[1]
    return f"const float *const previous = s == 0 ? {first} : y + {step};"


def _last(op: Recurrent, sequence: RenderedOperand, last: RenderedOperand) -> str:
    """Copies the hidden state after the last step."""
    row = 0 if op.reverse else sequence.shape[1] - 1
    source = f"{sequence.name} + t * {sequence.strides[0]} + {row * sequence.strides[1]}"
    target = f"{last.name} + t * {last.strides[0]}"
    return f"memcpy({target}, {source}, {sequence.shape[2]} * sizeof(float));"
