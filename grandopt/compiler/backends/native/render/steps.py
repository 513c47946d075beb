"""Each step of a layout as a C function."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.compiler.backends.native.form import (
    ArgReduce,
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
    Softmax,
)
from grandopt.compiler.backends.native.layout import Step
from grandopt.compiler.backends.native.levels import Level
from grandopt.compiler.backends.native.render import tile_recurrent
from grandopt.compiler.backends.native.render.elementwise import map_loops, pad_loops
from grandopt.compiler.backends.native.render.gather import gather_loops
from grandopt.compiler.backends.native.render.linear import linear_loops
from grandopt.compiler.backends.native.render.matmul import matmul_loops
from grandopt.compiler.backends.native.render.operands import Operand, Surroundings
from grandopt.compiler.backends.native.render.quantized import quantize_loops, quantized_loops
from grandopt.compiler.backends.native.render.quantized_recurrent import quantized_recurrent_loops
from grandopt.compiler.backends.native.render.recurrent import recurrent_loops
from grandopt.compiler.backends.native.render.reduce import reduce_loops
from grandopt.compiler.backends.native.render.rows import arg_loops, normalize_loops, softmax_loops
from grandopt.compiler.backends.native.render.text import indent

ARGUMENTS = "const void *const *in, void *const *out, unsigned char *scratch"


def step_function(name: str, step: Step, around: Surroundings, level: Level) -> list[str]:
    """A static function that runs the step for the samples of one tile; it returns 0 or a fault."""
    reads = [(f"px{i}", place) for i, place in enumerate(step.inputs) if place is not None]
    writes = [(f"py{i}", place) for i, place in enumerate(step.outputs)]
    declarations = [around.declaration(n, p, False) for n, p in reads]
    declarations += [around.declaration(n, p, True) for n, p in writes]
    inputs = [around.operand(n, p) for n, p in reads]
    outputs = [around.operand(n, p) for n, p in writes]
    body = _body(step, inputs, outputs, around, level)
    unused = ["(void)in, (void)out, (void)scratch;"]
    # Not inlined: GCC allocates registers worse in one large function, which costs products a third.
    head = f"static __attribute__((noinline)) int {name}({ARGUMENTS}) {{"
    return [head, *indent([*unused, *declarations, *body, "return 0;"]), "}"]


def _body(
    step: Step, inputs: Sequence[Operand], outputs: Sequence[Operand], around: Surroundings, level: Level
) -> list[str]:
    op, output, lanes = step.op, outputs[0], level.lanes
    match op:
        case Map():
            return map_loops(op.expression, inputs, output, lanes)
        case Pad():
            return pad_loops(inputs[0], output, op.before, op.fill, lanes)
        case Linear():
            return linear_loops(op, inputs[0], inputs[1:], output, level, around)
        case MatMul():
            return matmul_loops(op, inputs[0], inputs[1], inputs[2:], output, level)
        case Softmax():
            return softmax_loops(inputs[0], output, op.log, lanes)
        case Normalize():
            return normalize_loops(op, inputs, output, lanes)
        case Reduce():
            return reduce_loops(op, inputs[0], output, lanes)
        case ArgReduce():
            return arg_loops(inputs[0], output, op.largest)
        case Recurrent():
            if tile_recurrent.worthwhile(level, around.weights, op, around.tile):
                work = around.weights, around.workspace
                return [around.work(), *tile_recurrent.tile_recurrence(op, inputs, outputs, *work)]
            return recurrent_loops(op, inputs, outputs, level, around.weights)
        case Quantize():
            return quantize_loops(inputs[0], *outputs)
        case QuantizedLinear():
            return quantized_loops(op, inputs[:2], inputs[2:], output, level, around.weights)
        case QuantizedRecurrent():
            return quantized_recurrent_loops(op, inputs, outputs, level, around.weights)
        case Gather():
            return gather_loops(inputs[0], inputs[1], output)
    raise TypeError(f"no kernel for {type(op).__name__}")
