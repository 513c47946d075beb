"""Kernels over rows that are contiguous: soft maxima, normalisation, arg maxima."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grandopt.compiler.backends.native.form import Normalize
from grandopt.compiler.backends.native.render.elementwise import store
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import C_TYPES, indent, literal, loop, offset
from grandopt.compiler.backends.native.strides import collapse

Body = Callable[[Sequence[str]], list[str]]
ManyBody = Callable[[Sequence[Sequence[str]]], list[str]]

SIDE_BY_SIDE = 2
"""Rows that are normalized together: each waits for its mean, for its variance, and for a root of that."""


def over_rows(operands: Sequence[RenderedOperand], lead: Sequence[int], body: Body) -> list[str]:
    """`body(pointers to the row)` for every row; the operands' last axes are left to it."""
    return over_few_rows(operands, lead, lambda rows: body(rows[0]), most=1)


def over_few_rows(
    operands: Sequence[RenderedOperand], lead: Sequence[int], body: ManyBody, most: int = SIDE_BY_SIDE
) -> list[str]:
    """`body(pointers to each of at most so many rows)` for all rows."""
    walks = [operand.spread((*lead, operand.shape[-1]))[:-1] for operand in operands]
    sizes, strides = collapse(lead, walks)
    last = len(sizes) - 1

    def few(count: int) -> list[str]:
        def pointers(row: int) -> list[str]:
            names = [
                f"i{axis}" if axis < last or not row else f"(i{axis} + {row})" for axis in range(last + 1)
            ]
            return [
                f"({operand.name} + {offset(list(zip(names, s, strict=True)))})"
                for operand, s in zip(operands, strides, strict=True)
            ]

        return body([pointers(row) for row in range(count)])

    if not sizes:
        return few(1)
    count = min(most, sizes[-1])
    whole = sizes[-1] - sizes[-1] % count
    lines = loop(f"i{last}", whole, few(count), count)
    if sizes[-1] > whole:
        rest = [f"enum {{ i{last} = {whole} }};", *few(sizes[-1] - whole)]
        lines += ["{", *indent(rest), "}"]
    for axis in reversed(range(last)):
        lines = loop(f"i{axis}", sizes[axis], lines)
    return lines


def _sweep(size: int, lanes: int, body: Callable[[str, int], list[str]]) -> list[str]:
    """`body(position, valid lanes)` over a row."""
    whole = size - size % lanes
    lines = loop("i", whole, body("i", lanes), lanes) if whole else []
    if size > whole:
        lines += ["{", *indent(body(str(whole), size - whole)), "}"]
    return lines


def _load(pointer: str, count: int, lanes: int) -> str:
    return f"v_load({pointer})" if count == lanes else f"v_load_n({pointer}, {count})"


def softmax_loops(x: RenderedOperand, output: RenderedOperand, log: bool, lanes: int) -> list[str]:
    """exp(x − max) / Σ exp(x − max), or its logarithm x − max − log Σ exp(x − max)."""
    size = x.shape[-1]

    def body(pointers: Sequence[str]) -> list[str]:
        source, target = pointers

        def top(position: str, count: int) -> list[str]:
            value = f"v_fill({_load(f'{source} + {position}', count, lanes)}, {count}, -INFINITY)"
            return [f"top = v_max_second({value}, top);"]

        def exponent(position: str, count: int) -> list[str]:
            lines = [f"const vf e = v_exp({_load(f'{source} + {position}', count, lanes)} - peak);"]
            if not log:
                lines.append(store(f"{target} + {position}", "e", count, lanes))
            return [*lines, f"sum += {'e' if count == lanes else f'v_fill(e, {count}, 0.0f)'};"]

        def finish(position: str, count: int) -> list[str]:
            if log:
                text = f"{_load(f'{source} + {position}', count, lanes)} - peak - shift"
            else:
                text = f"{_load(f'{target} + {position}', count, lanes)} * share"
            return [store(f"{target} + {position}", text, count, lanes)]

        last = (
            "const vf shift = v_log(v_set1(v_sum(sum)));"
            if log
            else "const vf share = v_set1(1.0f / v_sum(sum));"
        )
        return [
            "vf top = v_set1(-INFINITY), sum = v_set1(0.0f);",
            *_sweep(size, lanes, top),
            "const vf peak = v_set1(v_highest(top));",
            *_sweep(size, lanes, exponent),
            last,
            *_sweep(size, lanes, finish),
        ]

    return over_rows([x, output], output.shape[:-1], body)


def normalize_loops(
    op: Normalize,
    operands: Sequence[RenderedOperand],
    extras: Sequence[RenderedOperand],
    output: RenderedOperand,
    lanes: int,
) -> list[str]:
    """Two passes for the mean and the variance, one to write; operands are (x, weight, bias)."""
    size = output.shape[-1]
    inner = [operand.spread(output.shape)[-1] for operand in extras]
    share = literal(1.0 / size, "float32")

    def body(rows: Sequence[Sequence[str]]) -> list[str]:
        def total(position: str, count: int) -> list[str]:
            return [
                f"sum{r} += {_load(f'{x} + {position}', count, lanes)};" for r, (x, *_) in enumerate(rows)
            ]

        def spread(position: str, count: int) -> list[str]:
            lines = []
            for r, (x, *_) in enumerate(rows):
                centred = f"{_load(f'{x} + {position}', count, lanes)} - mean{r}"
                valid = f"v_fill({centred}, {count}, 0.0f)" if count < lanes else centred
                lines += [f"const vf d{r} = {valid};", f"square{r} = v_fma(d{r}, d{r}, square{r});"]
            return lines

        def finish(position: str, count: int) -> list[str]:
            def load(pointer: str, step: int = 1) -> str:
                return _load(f"{pointer} + {position}", count, lanes) if step else f"v_set1(*({pointer}))"

            lines = []
            for r, (x, weight, bias, target, *others) in enumerate(rows):
                centred = f"({load(x)} - mean{r}) * scale{r}"
                block = [
                    f"const vf n = v_fma({centred}, {load(weight)}, {load(bias)});",
                    *(
                        f"const vf e{i} = {load(p, s)};"
                        for i, (p, s) in enumerate(zip(others, inner, strict=True))
                    ),
                ]
                statements = Statements(["n", *(f"e{i}" for i in range(len(others)))])
                result = "n" if op.epilogue is None else statements.vector(op.epilogue)
                block += [*statements.lines, store(f"{target} + {position}", result, count, lanes)]
                lines += ["{", *indent(block), "}"] if len(rows) > 1 else block
            return lines

        each = range(len(rows))
        mean = [
            *(f"vf sum{r} = v_set1(0.0f);" for r in each),
            *_sweep(size, lanes, total),
            *(f"const vf mean{r} = v_set1(v_sum(sum{r}) * {share});" for r in each),
        ]
        return [
            *(mean if op.center else [f"const vf mean{r} = v_set1(0.0f);" for r in each]),
            *(f"vf square{r} = v_set1(0.0f);" for r in each),
            *_sweep(size, lanes, spread),
            *(f"const float variance{r} = v_sum(square{r}) * {share};" for r in each),
            *(
                f"const vf scale{r} = v_set1(1.0f / sqrtf(variance{r} + {literal(op.epsilon, 'float32')}));"
                for r in each
            ),
            *_sweep(size, lanes, finish),
        ]

    return over_few_rows([*operands, output, *extras], output.shape[:-1], body)


def arg_loops(x: RenderedOperand, output: RenderedOperand, largest: bool, last_nan: bool) -> list[str]:
    """The index of the first largest (smallest) element of each row; see `ArgReduce` for NaN."""
    sign = ">" if largest else "<"
    nan = "(v != v)" if last_nan else "((v != v) & (best == best))"
    ctype = C_TYPES[x.dtype]
    wide = RenderedOperand(output.name, output.dtype, (*output.shape, 1), (*output.strides, 0))

    def body(pointers: Sequence[str]) -> list[str]:
        source, target = pointers
        update = [
            f"const {ctype} v = {source}[i];",
            f"TAKE((v {sign} best) | {nan}, best, v, index, i);",
        ]
        return [
            f"{ctype} best = {source}[0];",
            "int64_t index = 0;",
            *loop("i", x.shape[-1], update),
            f"*{target} = index;",
        ]

    return over_rows([x, wide], output.shape, body)
