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


def over_rows(operands: Sequence[RenderedOperand], lead: Sequence[int], body: Body) -> list[str]:
    """`body(pointers to the row)` for every row; the operands' last axes are left to it."""
    walks = [operand.spread((*lead, operand.shape[-1]))[:-1] for operand in operands]
    sizes, strides = collapse(lead, walks)
    pointers = [
        f"({operand.name} + {offset([(f'i{axis}', s[axis]) for axis in range(len(sizes))])})"
        for operand, s in zip(operands, strides, strict=True)
    ]
    lines = body(pointers)
    for axis in reversed(range(len(sizes))):
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

    def body(pointers: Sequence[str]) -> list[str]:
        x, weight, bias, target, *others = pointers
        inner = [operand.spread(output.shape)[-1] for operand in extras]

        def total(position: str, count: int) -> list[str]:
            return [f"sum += {_load(f'{x} + {position}', count, lanes)};"]

        def spread(position: str, count: int) -> list[str]:
            centred = f"{_load(f'{x} + {position}', count, lanes)} - mean"
            valid = f"v_fill({centred}, {count}, 0.0f)" if count < lanes else centred
            return [f"const vf d = {valid};", "square = v_fma(d, d, square);"]

        def finish(position: str, count: int) -> list[str]:
            def load(pointer: str, step: int = 1) -> str:
                return _load(f"{pointer} + {position}", count, lanes) if step else f"v_set1(*({pointer}))"

            lines = [
                f"const vf n = v_fma(({load(x)} - mean) * scale, {load(weight)}, {load(bias)});",
                *(
                    f"const vf e{i} = {load(p, s)};"
                    for i, (p, s) in enumerate(zip(others, inner, strict=True))
                ),
            ]
            statements = Statements(["n", *(f"e{i}" for i in range(len(others)))])
            result = "n" if op.epilogue is None else statements.vector(op.epilogue)
            return [*lines, *statements.lines, store(f"{target} + {position}", result, count, lanes)]

        share = literal(1.0 / size, "float32")
        mean = [
            "vf sum = v_set1(0.0f);",
            *_sweep(size, lanes, total),
            f"const vf mean = v_set1(v_sum(sum) * {share});",
        ]
        return [
            *(mean if op.center else ["const vf mean = v_set1(0.0f);"]),
            "vf square = v_set1(0.0f);",
            *_sweep(size, lanes, spread),
            f"const float variance = v_sum(square) * {share};",
            f"const vf scale = v_set1(1.0f / sqrtf(variance + {literal(op.epsilon, 'float32')}));",
            *_sweep(size, lanes, finish),
        ]

    return over_rows([*operands, output, *extras], output.shape[:-1], body)


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
