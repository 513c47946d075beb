"""Each step of a layout as a C function."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grandopt.compiler.backends.native.form import (
    ArgReduce,
    Attention,
    Convolve,
    Gather,
    Linear,
    Map,
    MatMul,
    Normalize,
    Pad,
    Quantize,
    QuantizedLinear,
    QuantizedRecurrent,
    Recurrent,
    Reduce,
    Scan,
    Scatter,
    Softmax,
    Sort,
)
from grandopt.compiler.backends.native.layout import Step
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.backends.native.render import tile_recurrent
from grandopt.compiler.backends.native.render.attention import attention_loops
from grandopt.compiler.backends.native.render.convolution import convolution_loops
from grandopt.compiler.backends.native.render.elementwise import border_loops, map_loops, pad_loops
from grandopt.compiler.backends.native.render.gather import gather_loops
from grandopt.compiler.backends.native.render.linear import linear_loops
from grandopt.compiler.backends.native.render.matmul import matmul_loops
from grandopt.compiler.backends.native.render.operands import RenderedOperand, Surroundings
from grandopt.compiler.backends.native.render.quantized import quantize_loops, quantized_loops
from grandopt.compiler.backends.native.render.quantized_recurrent import quantized_recurrent_loops
from grandopt.compiler.backends.native.render.recurrent import recurrent_loops
from grandopt.compiler.backends.native.render.reduce import reduce_loops
from grandopt.compiler.backends.native.render.rows import arg_loops, normalize_loops, softmax_loops
from grandopt.compiler.backends.native.render.scan import scan_loops
from grandopt.compiler.backends.native.render.scatter import scatter_loops
from grandopt.compiler.backends.native.render.sort import sort_loops
from grandopt.compiler.backends.native.render.text import indent

ARGUMENTS = "const void *const *in, void *const *out, unsigned char *scratch"


def step_function(name: str, step: Step, around: Surroundings, level: IsaLevel) -> list[str]:
    """A static function that runs the step for the samples of one tile; it returns 0 or a fault."""
    reads = [(f"px{i}", place) for i, place in enumerate(step.inputs) if place is not None]
    writes = [(f"py{i}", place) for i, place in enumerate(step.outputs)]
    declarations = [around.declaration(n, p, False) for n, p in reads]
    declarations += [around.declaration(n, p, True) for n, p in writes]
    inputs = [around.operand(n, p) for n, p in reads]
    outputs = [around.operand(n, p) for n, p in writes]
    body = _body(step, inputs, outputs, around, level)
    text = "\n".join(body)
    idle = [name for name, _ in (*reads, *writes) if not re.search(rf"\b{name}\b", text)]
    unused = ["(void)in, (void)out, (void)scratch;"]
    declarations += [f"(void){name};" for name in idle]
    # Not inlined: GCC allocates registers worse in one large function, which costs products a third.
    head = f"static __attribute__((noinline)) int {name}({ARGUMENTS}) {{"
    checked = isinstance(step.op, (Gather, Scatter))
    begin, end = (["int faults = 0;"], "return faults;") if checked else ([], "return 0;")
    return [head, *indent([*unused, *begin, *declarations, *body, end]), "}"]


def _body(
    step: Step,
    inputs: Sequence[RenderedOperand],
    outputs: Sequence[RenderedOperand],
    around: Surroundings,
    level: IsaLevel,
) -> list[str]:
    op, output, lanes = step.op, outputs[0], level.lanes
    match op:
        case Map():
            return map_loops(op.expression, inputs, output, lanes)
        case Convolve():
            x, *extras = inputs
            return convolution_loops(op, x, extras, output, level, around)
        case Pad() if _within(step):
            return border_loops(inputs[0], output, op.before, op.fill, lanes)
        case Pad():
            return pad_loops(inputs[0], output, op.before, op.fill, lanes)
        case Linear():
            x, *extras = inputs
            return linear_loops(op, x, extras, output, level, around)
        case MatMul():
            a, b, *extras = inputs
            return matmul_loops(op, a, b, extras, output, level)
        case Attention():
            query, keys, values, *extras = inputs
            return attention_loops(op, (query, keys, values), extras, output, level, around)
        case Softmax():
            return softmax_loops(inputs[0], output, op.log, lanes)
        case Normalize():
            x, weight, bias, *extras = inputs
            return normalize_loops(op, (x, weight, bias), extras, output, lanes)
        case Reduce():
            return reduce_loops(op, inputs[0], output, lanes)
        case ArgReduce():
            return arg_loops(inputs[0], output, op.largest, op.last_nan)
        case Recurrent():
            if tile_recurrent.worthwhile(level, around.weights, op, around.tile):
                work = around.weights, around.workspace
                return [around.work(), *tile_recurrent.tile_recurrence(op, inputs, outputs, *work)]
            return recurrent_loops(op, inputs, outputs, level, around.weights)
        case Quantize():
            (x,), (codes, scales) = inputs, outputs
            return quantize_loops(op, x, codes, scales, around.weights)
        case QuantizedLinear():
            codes, scales, *extras = inputs
            return quantized_loops(op, (codes, scales), extras, output, level, around)
        case QuantizedRecurrent():
            return quantized_recurrent_loops(op, inputs, outputs, level, around.weights)
        case Gather():
            table, indices = inputs
            return gather_loops(table, indices, output)
        case Scatter():
            return scatter_loops(op.kind, inputs, output)
        case Scan():
            return scan_loops(op.kind, inputs[0], outputs)
        case Sort():
            return sort_loops(op.descending, inputs[0], outputs)
    raise TypeError(f"no kernel for {type(op).__name__}")


def _within(step: Step) -> bool:
    """Whether the input of a Pad already lies within its output."""
    (place,) = step.inputs
    return place is not None and place.buffer is step.outputs[0].buffer
