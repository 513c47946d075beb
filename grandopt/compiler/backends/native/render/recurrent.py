"""LSTM and GRU steps: one matrix-vector product per step, the gates combined while they are in registers.

Weights are packed by blocks of GRANULE hidden units, the gates of a block side by side, so that the
accumulators of one block are all that its new state needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.compiler.backends.native.form import CellKind, Recurrent
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.weights import (
    GRANULE,
    Precision,
    Weights,
    padded,
    paired,
    pairs_pay,
)
from grandopt.signature import Array

GATES: dict[CellKind, int] = {"lstm": 4, "gru": 3}


def gate_panels(weight: Array, gates: int, precision: Precision) -> Array:
    """[gates · H, H] as blocks [H, gates · GRANULE], one per GRANULE units; missing units are zero.

    In bfloat16 two rows share 32-bit words, see `weights.paired`.
    """
    hidden = weight.shape[1]
    blocks = []
    for start in range(0, hidden, GRANULE):
        block = np.zeros((hidden, gates, GRANULE), weight.dtype)
        for gate in range(gates):
            part = weight[gate * hidden + start : gate * hidden + min(start + GRANULE, hidden)]
            block[:, gate, : part.shape[0]] = part.T
        flat = block.reshape(1, hidden, gates * GRANULE)
        blocks.append(flat.reshape(-1) if precision == "float32" else paired(flat, gates * GRANULE))
    return np.concatenate(blocks)


@dataclass(frozen=True)
class _VectorCell:
    """Sizes of the recurrence; its texts refer to `gate`, `previous`, `cell`, `y`, `w` and `bias`."""

    kind: CellKind
    hidden: int
    level: IsaLevel
    biased: bool
    paired: bool
    """The weights are bfloat16, two steps of k to a word."""
    rounded: bool
    """The state, too, is multiplied in bfloat16: its texts then refer to `pairs`, the rounded `previous`."""

    @property
    def vectors(self) -> int:
        """Vectors per gate in one block."""
        return GRANULE // self.level.lanes

    def block(self, weights: str, unit: str, units: int) -> list[str]:
        """New state of `units` hidden units from `unit`, with the block's weights."""
        gates = GATES[self.kind]
        columns = [(g, v) for g in range(gates) for v in range(self.vectors) if v * self.level.lanes < units]
        turns = -(-self.hidden // 2) if self.rounded else self.hidden // 2 if self.paired else self.hidden
        splits = max(1, min(IN_FLIGHT // len(columns), turns))
        lines = [
            f"vf {_name(g, v, s)} = {self._start(g, v, unit, units) if s == 0 else 'v_set1(0.0f)'};"
            for s in range(splits)
            for g, v in columns
        ]
        whole = turns - turns % splits
        body = [line for s in range(splits) for line in self._step(weights, f"(k + {s})", s, columns)]
        lines += loop("k", whole, body, splits)
        for s in range(turns - whole):
            lines += self._step(weights, str(whole + s), s, columns)
        if self.paired and not self.rounded and self.hidden % 2:
            lines += self._half(weights, str(turns), 0, columns, "even")
        lines += [f"{_name(g, v, 0)} += {_name(g, v, s)};" for s in range(1, splits) for g, v in columns]
        for v in range(self.vectors):
            valid = min(self.level.lanes, units - v * self.level.lanes)
            if valid > 0:
                lines += self._update(v, f"{unit} + {v * self.level.lanes}", valid)
        return ["{", *indent(lines), "}"]

    def _step(self, weights: str, k: str, split: int, columns: Sequence[tuple[int, int]]) -> list[str]:
        if self.rounded:
            return self._dots(weights, k, split, columns)
        if self.paired:
            return [line for half in ("even", "odd") for line in self._half(weights, k, split, columns, half)]
        width = GATES[self.kind] * GRANULE
        lines = [f"const vf x = v_set1(previous[{k}]);"]
        for g, v in columns:
            pointer = f"{weights} + {k} * {width} + {g * GRANULE + v * self.level.lanes}"
            lines.append(f"{_name(g, v, split)} = v_fma(x, v_load({pointer}), {_name(g, v, split)});")
        return ["{", *indent(lines), "}"]

    def _half(
        self, weights: str, k: str, split: int, columns: Sequence[tuple[int, int]], half: str
    ) -> list[str]:
        """One of the two steps that the words of pair `k` hold."""
        width = GATES[self.kind] * GRANULE
        lines = [f"const vf x = v_set1(previous[2 * {k} + {int(half == 'odd')}]);"]
        for g, v in columns:
            pointer = f"{weights} + {k} * {width} + {g * GRANULE + v * self.level.lanes}"
            name = _name(g, v, split)
            lines.append(f"{name} = v_fma(x, v_bf16_{half}({pointer}), {name});")
        return ["{", *indent(lines), "}"]

    def _dots(self, weights: str, k: str, split: int, columns: Sequence[tuple[int, int]]) -> list[str]:
        """Both steps that the words of pair `k` hold, at once."""
        width = GATES[self.kind] * GRANULE
        lines = [f"const vp x = vp_set1(pairs[{k}]);"]
        for g, v in columns:
            pointer = f"{weights} + {k} * {width} + {g * GRANULE + v * self.level.lanes}"
            name = _name(g, v, split)
            lines.append(f"{name} = v_dot2({name}, x, vp_load({pointer}));")
        return ["{", *indent(lines), "}"]

    def _start(self, gate: int, vector: int, unit: str, units: int) -> str:
        """Input projection and bias, but for a GRU's new gate, whose projection joins after the reset."""
        valid = min(self.level.lanes, units - vector * self.level.lanes)
        place = f"{gate * self.hidden} + {unit} + {vector * self.level.lanes}"
        gates = self._load(f"gate + {place}", valid)
        bias = self._load(f"bias + {place}", valid)
        if self.kind == "gru" and gate == 2:
            return bias
        return f"{gates} + {bias}" if self.biased else gates

    def _load(self, pointer: str, valid: int) -> str:
        return f"v_load({pointer})" if valid == self.level.lanes else f"v_load_n({pointer}, {valid})"

    def _update(self, v: int, unit: str, valid: int) -> list[str]:
        first, second, third = (_name(g, v, 0) for g in range(3))
        lanes = self.level.lanes
        if self.kind == "lstm":
            lines = [
                f"const vf keep = v_sigmoid({second}) * {self._load(f'cell + {unit}', valid)};",
                f"const vf c = v_fma(v_sigmoid({first}), v_tanh({third}), keep);",
                store(f"cell + {unit}", "c", valid, lanes),
                f"const vf h = v_sigmoid({_name(3, v, 0)}) * v_tanh(c);",
            ]
        else:
            projected = self._load(f"gate + {2 * self.hidden} + {unit}", valid)
            lines = [
                f"const vf n = v_tanh(v_fma(v_sigmoid({first}), {third}, {projected}));",
                f"const vf z = v_sigmoid({second});",
                f"const vf h = v_fma(z, {self._load(f'previous + {unit}', valid)} - n, n);",
            ]
        return ["{", *indent([*lines, store(f"y + {unit}", "h", valid, lanes)]), "}"]


def recurrent_loops(
    op: Recurrent,
    operands: Sequence[RenderedOperand],
    outputs: Sequence[RenderedOperand],
    level: IsaLevel,
    weights: Weights,
) -> list[str]:
    """All steps of all samples; operands are (gates, initial hidden[, initial cell])."""
    gates, *initial = operands
    sequence, *lasts = outputs
    steps, hidden = sequence.shape[1:]
    weight, bias = op.weight.constant, op.bias.constant
    pairs = weights.precision(op) == "bfloat16"
    rounded = pairs and level.pairs and pairs_pay(weight.shape[0], hidden)
    cell = _VectorCell(op.cell, hidden, level, bool(bias.any()), pairs, rounded)
    width = GATES[op.cell] * GRANULE * (-(-hidden // 2) if pairs else hidden)
    ctype = "uint32_t" if pairs else "float"
    packed = gate_panels(weight, GATES[op.cell], weights.precision(op))
    whole, rest = divmod(hidden, GRANULE)
    # Every other step goes backwards: what it used last is still in the nearest cache for the next.
    turn = [f"const int b = s & 1 ? {whole - 1} - a : a;"]
    turn += cell.block(f"w + b * {width}", f"b * {GRANULE}", GRANULE)
    blocks = loop("a", whole, turn) if whole else []
    if rest:
        blocks += cell.block(f"w + {whole * width}", str(whole * GRANULE), rest)
    now = f"({steps - 1} - s)" if op.reverse else "s"
    before = "(now + 1)" if op.reverse else "(now - 1)"
    step = [
        f"const int now = {now};",
        f"const float *const gate = {gates.name} + t * {gates.strides[0]} + now * {gates.strides[1]};",
        f"float *const y = {sequence.name} + t * {sequence.strides[0]} + now * {sequence.strides[1]};",
        f"const float *const previous = s == 0 ? {initial[0].name} + t * {initial[0].strides[0]} : "
        f"{sequence.name} + t * {sequence.strides[0]} + {before} * {sequence.strides[1]};",
        *([f"pairs_of_row(pairs, previous, {hidden});"] if rounded else []),
        *blocks,
    ]
    last_row = 0 if op.reverse else steps - 1
    row = f"{sequence.name} + t * {sequence.strides[0]} + {last_row * sequence.strides[1]}"
    sample = [
        *_cell_state(op, initial, lasts, hidden),
        *loop("s", steps, step),
        f"memcpy({lasts[0].name} + t * {lasts[0].strides[0]}, {row}, {hidden} * sizeof(float));",
    ]
    return [
        f"const {ctype} *const w = (const {ctype} *)({weights.pointer(packed)});",
        f"const float *const bias = (const float *)({weights.pointer(padded(bias))});",
        "(void)bias;",
        # Rounded by whole vectors, at most 32 numbers of which are one store.
        *([f"_Alignas(64) uint32_t pairs[{-(-hidden // (2 * GRANULE)) * GRANULE}];"] if rounded else []),
        *loop("t", sequence.shape[0], sample),
    ]


def _cell_state(
    op: Recurrent, initial: Sequence[RenderedOperand], lasts: Sequence[RenderedOperand], hidden: int
) -> list[str]:
    """An LSTM's cell state lives where its last value is wanted."""
    if op.cell != "lstm":
        return []
    return [
        f"float *const cell = {lasts[1].name} + t * {lasts[1].strides[0]};",
        f"memcpy(cell, {initial[1].name} + t * {initial[1].strides[0]}, {hidden} * sizeof(float));",
    ]


def _name(gate: int, vector: int, split: int) -> str:
    return f"g{gate}_{vector}_{split}"
