"""Loops for element-wise ops, copies and padding."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.expression import Expression
from grandopt.compiler.backends.native.render.expressions import Statements
from grandopt.compiler.backends.native.render.operands import RenderedOperand
from grandopt.compiler.backends.native.render.text import indent, loop, offset
from grandopt.compiler.backends.native.strides import collapse

UNROLL = 4
"""Vectors per turn where a row is long: hides the latency of the functions."""
STORED = ("float32", "bool")
"""What vectors are stored as: floats as they are, masks as bytes. Everything else is stored one by one."""


def map_loops(
    expression: Expression, inputs: Sequence[RenderedOperand], output: RenderedOperand, lanes: int
) -> list[str]:
    """output[i] = expression(inputs[i]…) over the output's shape."""
    walks = [output.strides, *(operand.spread(output.shape) for operand in inputs)]
    sizes, strides = collapse(output.shape, walks)
    sizes, strides = (sizes, strides) if sizes else ([1], [[1] for _ in walks])
    inner = [s[-1] for s in strides]
    operands = [output, *inputs]
    pointers = [
        f"{operand.name} + {offset([(f'i{axis}', s[axis]) for axis in range(len(sizes) - 1)])}"
        for operand, s in zip(operands, strides, strict=True)
    ]
    one_width = expression.dtype == output.dtype and output.dtype in STORED
    if expression.vectorizable and one_width and inner[0] == 1 and all(step in (0, 1) for step in inner):
        body = _vector_row(expression, pointers, inner, sizes[-1], lanes)
    else:
        body = _scalar_row(expression, pointers, inner, sizes[-1])
    for axis in reversed(range(len(sizes) - 1)):
        body = loop(f"i{axis}", sizes[axis], body)
    return body


def _scalar_row(expression: Expression, pointers: list[str], inner: list[int], size: int) -> list[str]:
    leaves = [f"({p})[{offset([('i', step)])}]" for p, step in zip(pointers[1:], inner[1:], strict=True)]
    statements = Statements(leaves)
    result = statements.scalar(expression)
    return loop("i", size, [*statements.lines, f"({pointers[0]})[{offset([('i', inner[0])])}] = {result};"])


def _vector_row(
    expression: Expression, pointers: list[str], inner: list[int], size: int, lanes: int
) -> list[str]:
    used = expression.operands()
    lines = [
        f"const vf x{i} = v_set1(*({p}));"
        for i, (p, step) in enumerate(zip(pointers[1:], inner[1:], strict=True))
        if step == 0 and i in used
    ]

    def body(position: str, count: int) -> list[str]:
        loads = [
            f"const vf x{i} = {_load(f'{p} + {position}', count, lanes)};"
            for i, (p, step) in enumerate(zip(pointers[1:], inner[1:], strict=True))
            if step == 1 and i in used
        ]
        statements = Statements([f"x{i}" for i in range(len(pointers) - 1)])
        result = statements.vector(expression)
        put = store_mask if expression.dtype == "bool" else store
        return [*loads, *statements.lines, put(f"{pointers[0]} + {position}", result, count, lanes)]

    whole = size - size % lanes
    if whole:
        turns = whole // lanes
        lines += [f"#pragma GCC unroll {min(UNROLL, turns)}"] if turns > 1 else []
        lines += loop("i", whole, body("i", lanes), lanes)
    if size > whole:
        lines += ["{", *indent(body(str(whole), size - whole)), "}"]
    return ["{", *indent(lines), "}"]


def _load(pointer: str, count: int, lanes: int) -> str:
    return f"v_load({pointer})" if count == lanes else f"v_load_n({pointer}, {count})"


def store(pointer: str, value: str, count: int, lanes: int) -> str:
    """Store the first `count` lanes of a vector at a place of float32."""
    return f"v_store({pointer}, {value});" if count == lanes else f"v_store_n({pointer}, {value}, {count});"


def store_mask(pointer: str, mask: str, count: int, lanes: int) -> str:
    """Store the first `count` of `lanes` lanes of a mask at a place of bool."""
    return f"v_store_mask({pointer}, {mask}, {min(count, lanes)});"


def pad_loops(
    source: RenderedOperand, output: RenderedOperand, before: Sequence[int], fill: float, lanes: int
) -> list[str]:
    """Fill the output, then copy the source into its middle."""
    start = sum(b * step for b, step in zip(before, output.strides[1:], strict=True))
    middle = RenderedOperand(f"({output.name} + {start})", output.dtype, source.shape, output.strides)
    return [
        *map_loops(ex.const(fill, output.dtype), (), output, lanes),
        *map_loops(ex.arg(0, source.dtype), (source,), middle, lanes),
    ]


def border_loops(
    source: RenderedOperand, output: RenderedOperand, before: Sequence[int], fill: float, lanes: int
) -> list[str]:
    """Fill what of the output lies around the source, which is in its middle already."""
    lines: list[str] = []
    starts, shape = [0] * len(before), list(output.shape)
    for axis, ahead in enumerate(before):
        size, whole = source.shape[axis + 1], output.shape[axis + 1]
        for start, count in ((0, ahead), (ahead + size, whole - ahead - size)):
            here = [*starts[:axis], start, *starts[axis + 1 :]]
            place = sum(n * step for n, step in zip(here, output.strides[1:], strict=True))
            slab = (*shape[: axis + 1], count, *shape[axis + 2 :])
            part = RenderedOperand(f"({output.name} + {place})", output.dtype, slab, output.strides)
            lines += map_loops(ex.const(fill, output.dtype), (), part, lanes) if count else []
        starts[axis], shape[axis + 1] = ahead, size  # further axes only beside the source
    return lines
