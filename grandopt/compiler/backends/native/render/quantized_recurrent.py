"""LSTM and GRU steps over 8-bit weights: the state is quantized once per step, then multiplied in integers.

A state may be anything (the caller's initial one, or a GRU's after it), so its scale is that of its largest
magnitude, not a fixed one. Weights are packed by blocks of GRANULE hidden units as in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.compiler.backends.native.form import CellKind, QuantizedRecurrent
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render.blocks import IN_FLIGHT
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.recurrent import GATES
from grandopt.compiler.backends.native.render.text import indent, loop
from grandopt.compiler.backends.native.render.weights import GRANULE, Weights
from grandopt.compiler.backends.native.render.words import by_gates, starts, words


@dataclass(frozen=True)
class _QuantizedCell:
    """Sizes of the recurrence; its texts refer to `gate`, `previous`, `codes`, `scale`, `cell`, `y`, `w`,
    `start`, `weight_scales` and `bias`."""

    kind: CellKind
    hidden: int
    level: IsaLevel
    biased: bool
    """Whether the recurrent part has a bias; an LSTM's is usually within the gates already."""

    @property
    def width(self) -> int:
        """Columns of one block of units."""
        return GATES[self.kind] * GRANULE

    @property
    def depth(self) -> int:
        """Words of a row of codes."""
        return -(-self.hidden // 4)

    def block(self, block: str, units: int) -> list[str]:
        """New state of `units` hidden units, those of block number `block`."""
        lanes, gates = self.level.lanes, range(GATES[self.kind])
        vectors = range(-(-units // lanes))
        columns = [(g, v) for g in gates for v in vectors]
        # A block's accumulators are 4, 8 or 16 vectors (3, 6 or 12 of a GRU); where they are fewer than the
        # dot products that must be under way, steps alternate between several sets of them.
        splits = max(1, min(IN_FLIGHT // len(columns), self.depth))
        first = f"{block} * {self.width}"
        lines = [
            f"vi a{g}_{v}_{s} = "
            + (f"vi_start(start + {first} + {self._column(g, v)});" if s == 0 else "vi_set1(0);")
            for s in range(splits)
            for g, v in columns
        ]
        whole = self.depth - self.depth % splits
        step = [line for s in range(splits) for line in self._step(block, f"(k + {s})", s, columns)]
        lines += loop("k", whole, step, splits)
        for k in range(whole, self.depth):
            lines += self._step(block, str(k), k - whole, columns)
        lines += [
            f"a{g}_{v}_0 = vi_add(a{g}_{v}_0, a{g}_{v}_{s});" for s in range(1, splits) for g, v in columns
        ]
        for v in vectors:
            lines += self._update(
                v, first, f"{block} * {GRANULE} + {v * lanes}", min(lanes, units - v * lanes)
            )
        return ["{", *indent(lines), "}"]

    def _step(self, block: str, k: str, split: int, columns: Sequence[tuple[int, int]]) -> list[str]:
        lines = [f"const vi x = vi_four(codes + 4 * {k});"]
        for g, v in columns:
            pointer = f"w + ({block} * {self.depth} + {k}) * {self.width} + {self._column(g, v)}"
            lines.append(f"a{g}_{v}_{split} = v_dot4(a{g}_{v}_{split}, x, vi_load({pointer}));")
        return ["{", *indent(lines), "}"]

    def _update(self, v: int, first: str, unit: str, valid: int) -> list[str]:
        """The gates of one vector of units from their sums, and the new state."""
        lanes = self.level.lanes

        def load(pointer: str) -> str:
            return f"v_load({pointer})" if valid == lanes else f"v_load_n({pointer}, {valid})"

        lines = []
        for g in range(GATES[self.kind]):
            place = f"{first} + {self._column(g, v)}"
            # One scale per gate and unit from the weights, times one per step from the state: see `scale`.
            share = f"v_from_vi(a{g}_{v}_0) * v_load(weight_scales + {place})"
            bias = f"v_load(bias + {place})" if self.biased else "v_set1(0.0f)"
            projected = load(f"gate + {g * self.hidden} + {unit}")
            if self.kind == "gru" and g == 2:  # the new gate's projection joins after the reset
                lines.append(f"const vf hidden = v_fma({share}, scale, {bias}), projected = {projected};")
            else:
                sum = f"{projected} + {bias}" if self.biased else projected
                lines.append(f"const vf g{g} = v_fma({share}, scale, {sum});")
        if self.kind == "lstm":
            lines += [
                f"const vf keep = v_sigmoid(g1) * {load(f'cell + {unit}')};",
                "const vf c = keep + v_sigmoid_tanh(g0, g2);",
                store(f"cell + {unit}", "c", valid, lanes),
                "const vf h = v_sigmoid_tanh(g3, c);",
            ]
        else:
            lines += [
                "const vf n = v_tanh(v_fma(v_sigmoid(g0), hidden, projected));",
                f"const vf h = v_fma(v_sigmoid(g1), {load(f'previous + {unit}')} - n, n);",
            ]
        return ["{", *indent([*lines, store(f"y + {unit}", "h", valid, lanes)]), "}"]

    def _column(self, gate: int, vector: int) -> int:
        return gate * GRANULE + vector * self.level.lanes


def quantized_recurrent_loops(
    op: QuantizedRecurrent,
    operands: Sequence[RenderedOperand],
    outputs: Sequence[RenderedOperand],
    level: IsaLevel,
    weights: Weights,
) -> list[str]:
    """All steps of all samples; operands are (gates, initial hidden[, initial cell])."""
    gates, *initial = operands
    sequence, *lasts = outputs
    steps, hidden = sequence.shape[1:]
    cell = _QuantizedCell(op.cell, hidden, level, bool(op.bias.constant.any()))
    whole, rest = divmod(hidden, GRANULE)
    # Every other step goes backwards: what it used last is still in the nearest cache for the next.
    turn = [f"const int b = s & 1 ? {whole - 1} - a : a;", *cell.block("b", GRANULE)]
    blocks = loop("a", whole, turn) if whole else []
    if rest:
        blocks += cell.block(str(whole), rest)
    before = "(now + 1)" if op.reverse else "(now - 1)"
    sample = f"{sequence.name} + t * {sequence.strides[0]}"
    step = [
        f"const int now = {f'{steps - 1} - s' if op.reverse else 's'};",
        f"const float *const gate = {gates.name} + t * {gates.strides[0]} + now * {gates.strides[1]};",
        f"float *const y = {sample} + now * {sequence.strides[1]};",
        f"const float *const previous = s == 0 ? {initial[0].name} + t * {initial[0].strides[0]} : "
        f"{sample} + {before} * {sequence.strides[1]};",
        # Ahead of all blocks: every unit reads the codes of the whole old state.
        f"const vf scale = v_set1(quantize_row(previous, {hidden}, codes));",
        *blocks,
    ]
    last = 0 if op.reverse else (steps - 1) * sequence.strides[1]
    body = [
        *_cell_state(op, initial, lasts, hidden),
        *loop("s", steps, step),
        f"memcpy({lasts[0].name} + t * {lasts[0].strides[0]}, {sample} + {last}, {hidden} * sizeof(float));",
    ]
    # Codes are stored by whole vectors, of 16 lanes at most; those beyond the state meet weights of 0.
    room = -(-hidden // GRANULE) * GRANULE
    return [
        *_constants(op, cell.biased, weights),
        f"_Alignas(64) uint8_t codes[{room}];",
        *loop("t", sequence.shape[0], body),
    ]


def _constants(op: QuantizedRecurrent, biased: bool, weights: Weights) -> list[str]:
    weight, gates = op.weight.constant, GATES[op.cell]
    blocks = by_gates(words(weight), gates).reshape(-1, gates * GRANULE, -(-weight.shape[1] // 4))
    packed = blocks.swapaxes(1, 2)  # the words of one step of all columns of a block side by side
    declared = [
        ("uint32_t", "w", packed),
        ("int32_t", "start", by_gates(starts(weight), gates)),
        ("float", "weight_scales", by_gates(op.weight_scales.constant, gates)),
    ]
    if biased:  # an LSTM's two biases are one, which the gates hold; a GRU's belongs inside the reset
        declared.append(("float", "bias", by_gates(op.bias.constant, gates)))
    return [
        f"const {kind} *const {name} = (const {kind} *)({weights.pointer(array)});"
        for kind, name, array in declared
    ]


def _cell_state(
    op: QuantizedRecurrent, initial: Sequence[RenderedOperand], lasts: Sequence[RenderedOperand], hidden: int
) -> list[str]:
    """An LSTM's cell state lives where its last value is wanted."""
    if op.cell != "lstm":
        return []
    return [
        f"float *const cell = {lasts[1].name} + t * {lasts[1].strides[0]};",
        f"memcpy(cell, {initial[1].name} + t * {initial[1].strides[0]}, {hidden} * sizeof(float));",
    ]
