"""Element-wise ops, paddings, reductions and what goes over rows, as loops of plain C."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.form import ArgReduce, Normalize, Pad, Reduce, Scatter, Softmax
from grandopt.compiler.backends.native.plain.products import finished
from grandopt.compiler.backends.native.plain.text import PlainOperand, number, over, statements
from grandopt.compiler.backends.native.render.text import C_TYPES, indent
from grandopt.compiler.backends.native.strides import collapse
from grandopt.errors import UnsupportedError

Operands = Sequence[PlainOperand]


def mapped(expression: Expression, reads: Operands, output: PlainOperand) -> list[str]:
    """output = expression(reads…), in the fewest loops."""
    operands = [output, *(operand.spread(output.shape) for operand in reads)]
    sizes, strides = collapse(output.shape, [operand.strides for operand in operands])
    shape = tuple(sizes)
    flat = [
        PlainOperand(operand.base, operand.dtype, shape, tuple(steps))
        for operand, steps in zip(operands, strides, strict=True)
    ]

    def body(indices: list[str]) -> list[str]:
        lines, result = statements(expression, [operand.at(indices) for operand in flat[1:]])
        return [*lines, f"{flat[0].at(indices)} = {result};"]

    return over(shape, body)


def padded(op: Pad, source: PlainOperand, output: PlainOperand, *, within: bool) -> list[str]:
    """The source in a border of one number; one that lies `within` the output is there already."""

    def body(indices: list[str]) -> list[str]:
        limits = [
            (index, before, before + size)
            for index, before, size, whole in zip(indices, op.before, source.shape, output.shape, strict=True)
            if size != whole
        ]
        inside = " && ".join(f"{index} >= {low} && {index} < {high}" for index, low, high in limits) or "1"
        fill = f"{output.at(indices)} = {number(op.fill, output.dtype)};"
        if within:
            return [f"if (!({inside})) {fill}"]
        moved = [
            index if before == 0 else f"({index} - {before})"
            for index, before in zip(indices, op.before, strict=True)
        ]
        return [f"if ({inside}) {output.at(indices)} = {source.at(moved)};", f"else {fill}"]

    return over(output.shape, body)


def gathered(table: PlainOperand, places: PlainOperand, output: PlainOperand) -> list[str]:
    """output[i] = table[places[i]], row by row."""
    lead = len(places.shape)

    def body(indices: list[str]) -> list[str]:
        row = places.at(indices[:lead])
        return [f"{output.at(indices)} = {table.at([row, *indices[lead:]])};"]

    return over(output.shape, body)


def scattered(
    op: Scatter, base: PlainOperand, places: PlainOperand, values: PlainOperand, output: PlainOperand
) -> list[str]:
    """The base with values set at places, or added there."""
    if op.kind not in ("set", "sum"):
        raise UnsupportedError(f"scatter ({op.output.name}) by {op.kind} is not written in plain C")
    sign = "=" if op.kind == "set" else "+="
    kind = C_TYPES[output.dtype]
    put = f"{output.at([places.at(['k'])])} {sign} {values.at(['k'])};"
    return [
        f"memcpy({output.base}, {base.base}, {base.shape[0]} * sizeof({kind}));",
        f"for (int32_t k = 0; k < {places.shape[0]}; ++k) {put}",
    ]


def softmax(op: Softmax, x: PlainOperand, output: PlainOperand) -> list[str]:
    """Over the last axis."""
    size = x.shape[-1]

    def body(indices: list[str]) -> list[str]:
        given, made = x.at([*indices, "k"]), output.at([*indices, "k"])
        last = f"{given} - top - total" if op.log else f"{made} * total"
        kept = "" if op.log else f"{made} = "
        return [
            f"float top = {x.at([*indices, '0'])}, total = 0.0f;",
            f"for (int32_t k = 1; k < {size}; ++k) top = {given} > top ? {given} : top;",
            f"for (int32_t k = 0; k < {size}; ++k) {{",
            f"    const float share = v_exp({given} - top);",
            "    total += share;",
            *([f"    {kept}share;"] if kept else []),
            "}",
            f"total = {'v_log(total)' if op.log else '1.0f / total'};",
            f"for (int32_t k = 0; k < {size}; ++k) {made} = {last};",
        ]

    return over(x.shape[:-1], body)


def normalized(op: Normalize, reads: Operands, output: PlainOperand) -> list[str]:
    """Over the last axis, the mean first, then what is around it."""
    x, weight, bias, *extras = reads
    size = x.shape[-1]
    portion = number(1.0 / size, "float32")

    def body(indices: list[str]) -> list[str]:
        given = x.at([*indices, "k"])
        each = f"for (int32_t k = 0; k < {size}; ++k)"
        scaled = f"({given} - mean) * factor * {weight.spread(x.shape[-1:]).at(['k'])}"
        sums = [f"const float sum = {scaled} + {bias.spread(x.shape[-1:]).at(['k'])};"]
        return [
            "float mean = 0.0f, squares = 0.0f, factor;",
            *([f"{each} mean += {given};", f"mean *= {portion};"] if op.center else []),
            f"{each} squares += ({given} - mean) * ({given} - mean);",
            f"factor = 1.0f / v_sqrt(squares * {portion} + {number(op.epsilon, 'float32')});",
            f"{each} {{",
            *indent(finished(sums, op.epilogue, extras, output, [*indices, "k"])),
            "}",
        ]

    return over(x.shape[:-1], body)


def reduced(op: Reduce, x: PlainOperand, output: PlainOperand) -> list[str]:
    """Over some axes, which stay with size 1."""
    axes = [axis for axis in range(len(x.shape)) if axis in op.axes]
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    real = x.dtype.startswith("float")

    def body(indices: list[str]) -> list[str]:
        def step(inner: list[str]) -> list[str]:
            places = list(indices)
            for axis, index in zip(axes, inner, strict=True):
                places[axis] = index
            given = x.at(places)
            match op.kind:
                case "sum" | "mean":
                    return [f"all += {given};"]
                case "prod":
                    return [f"all *= {given};"]
                case "any":
                    return [f"all = all | {given};"]
                case "all":
                    return [f"all = all & {given};"]
                case "max" | "min":
                    sign = ">" if op.kind == "max" else "<"
                    taken = f"one {sign} all || one != one" if real else f"one {sign} all"
                    kept = "all == all && " if real else ""
                    declared = f"const {C_TYPES[x.dtype]} one = {given};"
                    return [declared, f"all = {kept}({taken}) ? one : all;"]

        first = {"sum": "0", "mean": "0", "any": "0", "prod": "1", "all": "1"}.get(op.kind)
        start = first or x.at([("0" if axis in axes else indices[axis]) for axis in range(len(indices))])
        loops = over([x.shape[axis] for axis in axes], step, prefix="r")
        result = f"all * {number(1.0 / count, x.dtype)}" if op.kind == "mean" else "all"
        return [
            f"{C_TYPES[output.dtype]} all = {start};",
            *(loops if count > 1 else ["{", *indent(loops), "}"]),
            f"{output.at(indices)} = {result};",
        ]

    return over(output.shape, body)


def highest(op: ArgReduce, x: PlainOperand, output: PlainOperand) -> list[str]:
    """The index of the largest or smallest element of the last axis; NaN counts as such."""
    sign = ">" if op.largest else "<"
    taken = f"one {sign} best"
    if x.dtype.startswith("float"):
        nan = "one != one" if op.last_nan else "(one != one && best == best)"
        taken = f"{taken} || {nan}"

    def body(indices: list[str]) -> list[str]:
        kind = C_TYPES[x.dtype]
        return [
            f"{kind} best = {x.at([*indices, '0'])};",
            "int32_t at = 0;",
            f"for (int32_t k = 1; k < {x.shape[-1]}; ++k) {{",
            f"    const {kind} one = {x.at([*indices, 'k'])};",
            f"    const int take = {taken};",
            "    best = take ? one : best;",
            "    at = take ? k : at;",
            "}",
            f"{output.at(indices)} = at;",
        ]

    return over(output.shape, body)
