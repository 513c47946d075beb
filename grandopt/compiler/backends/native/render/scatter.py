"""Values combined into places of a base, every place checked."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.form import ScatterKind
from grandopt.compiler.backends.native.render.gather import INDEX_FAULT
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import C_TYPES, loop

UPDATE = {
    "set": "{1}",
    "sum": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "s_max({0}, {1})",
    "min": "s_min({0}, {1})",
}


def scatter_loops(
    kind: ScatterKind, operands: Sequence[RenderedOperand], output: RenderedOperand
) -> list[str]:
    """output = base, then output[places[i]] ∘= values[i] in order; all are contiguous within a sample."""
    base, places, values = operands
    size, ctype = base.shape[1], C_TYPES[base.dtype]

    def sample(operand: RenderedOperand) -> str:
        return f"{operand.name} + t * {0 if operand.shape[0] == 1 else operand.strides[0]}"

    body = [
        f"{ctype} *const target = {sample(output)};",
        f"memcpy(target, {sample(base)}, {size} * sizeof({ctype}));",
        *loop(
            "i",
            places.shape[1],
            [
                f"const int64_t place = place_of(({sample(places)})[i], {size}, {INDEX_FAULT}, &faults);",
                f"const {ctype} v = ({sample(values)})[i];",
                f"target[place] = ({ctype})({UPDATE[kind].format('target[place]', 'v')});",
            ],
        ),
    ]
    return loop("t", output.shape[0], body)
