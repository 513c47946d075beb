"""Products and recurrences as loops of plain C."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import Convolve, Linear, MatMul, Recurrent
from grandopt.compiler.backends.native.plain.fixed import (
    STATE,
    FixedCodes,
    FixedLinear,
    FixedRecurrent,
    FixedRelay,
)
from grandopt.compiler.backends.native.plain.text import PlainOperand, block, number, over, statements
from grandopt.compiler.backends.native.render.text import indent

Operands = Sequence[PlainOperand]


def finished(
    sums: list[str], epilogue: Expression | None, extras: Operands, output: PlainOperand, indices: list[str]
) -> list[str]:
    """`sums`, which leave the result as `sum`, then what follows it, and the store."""
    leaves = ["sum", *(extra.spread(output.shape).at(indices) for extra in extras)]
    lines, result = ([], "sum") if epilogue is None else statements(epilogue, leaves)
    return [*sums, *lines, f"{output.at(indices)} = {result};"]


def linear(op: Linear, reads: Operands, output: PlainOperand) -> list[str]:
    """x [..., K] with a weight [N, K]."""
    x, weight, bias, *extras = reads
    depth = weight.shape[1]

    def body(indices: list[str]) -> list[str]:
        product = f"v_dot({x.row(indices[:-1])}, {weight.row(indices[-1:])}, {depth})"
        sums = [f"const float sum = {bias.at(indices[-1:])} + {product};"]
        return finished(sums, op.epilogue, extras, output, indices)

    return over(output.shape, body)


def matmul(op: MatMul, reads: Operands, output: PlainOperand) -> list[str]:
    """a [..., M, K] with b [..., K, N]."""
    a, b, *extras = reads
    *lead, rows, columns = output.shape
    depth = a.shape[-1]
    a, b = a.spread((*lead, rows, depth)), b.spread((*lead, depth, columns))

    def body(indices: list[str]) -> list[str]:
        *outer, row, column = indices
        product = f"{a.at([*outer, row, 'k'])} * {b.at([*outer, 'k', column])}"
        sums = [
            "float sum = 0.0f;",
            f"for (int32_t k = 0; k < {depth}; ++k) sum += {product};",
        ]
        return finished(sums, op.epilogue, extras, output, indices)

    return over(output.shape, body)


def convolve(op: Convolve, reads: Operands, output: PlainOperand) -> list[str]:
    """x [1, spatial…, C] with a weight [N, kernel…, C]; taps beside the image count for nothing."""
    x, weight, bias, *extras = reads
    kernel, channels = weight.shape[1:-1], weight.shape[-1]

    def body(indices: list[str]) -> list[str]:
        places, channel = indices[1:-1], indices[-1]

        def tap(taps: list[str]) -> list[str]:
            at = [
                f"{place} * {stride} + {one} * {dilation} - {before}"
                for place, one, stride, dilation, before in zip(
                    places, taps, op.strides, op.dilations, op.before, strict=True
                )
            ]
            named = [f"p{axis}" for axis in range(len(at))]
            inside = " && ".join(
                f"{name} >= 0 && {name} < {size}" for name, size in zip(named, x.shape[1:-1], strict=True)
            )
            source = x.at(["0", *named, channel if op.depthwise else "c"])
            factor = weight.at([channel, *taps, "0" if op.depthwise else "c"])
            added = [f"for (int32_t c = 0; c < {channels}; ++c) sum += {source} * {factor};"]
            if op.depthwise:
                added = [f"sum += {source} * {factor};"]
            declared = [f"const int32_t {name} = {text};" for name, text in zip(named, at, strict=True)]
            return [*declared, f"if ({inside}) {{", *indent(added), "}"]

        taps = over(kernel, tap, prefix="t")
        sums = [f"float sum = {bias.at([channel])};", *(taps if math.prod(kernel) > 1 else block(taps))]
        return finished(sums, op.epilogue, extras, output, indices)

    return over(output.shape, body)


def codes(op: FixedCodes, reads: Operands, writes: Operands) -> list[str]:
    """A row of numbers as codes, and whether all were finite."""
    x, offset, factor = reads
    coded, taint = writes

    def body(indices: list[str]) -> list[str]:
        each = [
            f"const float number = ({x.at([*indices, 'k'])} - {offset.at(['k'])}) * {factor.at(['k'])};",
            "tainted += number * 0.0f;",
            f"{coded.at([*indices, 'k'])} = v_code(number, {number(op.limit, 'float32')});",
        ]
        return [
            "float tainted = 0.0f;",
            f"for (int32_t k = 0; k < {x.shape[-1]}; ++k) {{",
            *indent(each),
            "}",
            f"{taint.at([*indices, '0'])} = tainted;",
        ]

    return over(x.shape[:-1], body)


def fixed_linear(op: FixedLinear, reads: Operands, output: PlainOperand) -> list[str]:
    """Codes with weights of 8 bits, the sums back in float32."""
    coded, taint, weight, scale, bias, *extras = reads

    def body(indices: list[str]) -> list[str]:
        lead, last = indices[:-1], indices[-1:]
        product = f"v_dot_codes({coded.row(lead)}, {weight.row(last)}, {weight.shape[1]})"
        scaled = f"(float){product} * {scale.at(last)}"
        sums = [f"const float sum = {scaled} + ({bias.at(last)} + {taint.at([*lead, '0'])});"]
        return finished(sums, op.epilogue, extras, output, indices)

    return over(output.shape, body)


def fixed_relay(op: FixedRelay, reads: Operands, output: PlainOperand) -> list[str]:
    """Codes with weights of 8 bits, the sums as codes again, without a floating-point number."""
    coded, weight, bias, multiplier, shift = reads

    def body(indices: list[str]) -> list[str]:
        lead, last = indices[:-1], indices[-1:]
        product = f"v_dot_codes({coded.row(lead)}, {weight.row(last)}, {weight.shape[1]})"
        low = 0 if op.rectified else -op.limit
        rescaled = f"v_rescaled(sum, {multiplier.at(last)}, {shift.at(last)}, {low}, {op.limit})"
        return [f"const int32_t sum = {bias.at(last)} + {product};", f"{output.at(indices)} = {rescaled};"]

    return over(output.shape, body)


def recurrent(op: Recurrent | FixedRecurrent, reads: Operands, writes: Operands) -> list[str]:
    """One direction of one layer; the state of a step is the row of `y` that it wrote."""
    fixed = isinstance(op, FixedRecurrent)
    gates, weight, *rest = reads
    scale = rest.pop(0) if fixed else None
    bias, hidden, *cell = rest
    y, last, *others = writes
    units, steps = y.shape[1], gates.shape[0]

    def product(gate: int) -> str:
        row = f"(j + {gate * units})" if gate else "j"
        start = bias.at([row])
        if scale is None:
            return f"{start} + v_dot(past, {weight.row([row])}, {units})"
        sums = f"v_dot_codes({others[-1].base}, {weight.row([row])}, {units})"
        return f"(float){sums} * {scale.at([row])} + ({start} + tainted)"

    def gate(place: int) -> str:
        return gates.at(["step", f"(j + {place * units})" if place else "j"])

    if op.cell == "lstm":
        names = [f"const float g{n} = {gate(n)} + ({product(n)});" for n in range(4)]
        update = [
            *names,
            f"const float before = s == 0 ? {cell[0].at(['j'])} : {others[0].at(['j'])};",
            "const float kept = v_sigmoid(g1) * before + v_sigmoid(g0) * v_tanh(g2);",
            f"{others[0].at(['j'])} = kept;",
            f"{y.at(['step', 'j'])} = v_sigmoid(g3) * v_tanh(kept);",
        ]
    else:
        update = [
            f"const float reset = v_sigmoid({gate(0)} + ({product(0)}));",
            f"const float update = v_sigmoid({gate(1)} + ({product(1)}));",
            f"const float fresh = v_tanh({gate(2)} + reset * ({product(2)}));",
            f"{y.at(['step', 'j'])} = fresh + update * (past[j] - fresh);",
        ]
    coding = []
    if isinstance(op, FixedRecurrent):
        coding = [
            "float tainted = 0.0f;",
            f"for (int32_t j = 0; j < {units}; ++j) {{",
            f"    const float number = past[j] * {number(op.limit / STATE, 'float32')};",
            "    tainted += number * 0.0f;",
            f"    {others[-1].at(['j'])} = v_code(number, {number(op.limit, 'float32')});",
            "}",
        ]
    return [
        f"const float *past = {hidden.base};",
        f"for (int32_t s = 0; s < {steps}; ++s) {{",
        *indent(
            [
                f"const int32_t step = {f'{steps - 1} - s' if op.reverse else 's'};",
                *coding,
                f"for (int32_t j = 0; j < {units}; ++j) {{",
                *indent(update),
                "}",
                f"past = {y.row(['step'])};",
            ]
        ),
        "}",
        f"memcpy({last.base}, past, {units} * sizeof(float));",
    ]
