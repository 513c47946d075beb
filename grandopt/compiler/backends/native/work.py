"""How much an op has to do."""

from __future__ import annotations

from grandopt.compiler.backends.native.form import Attention, Convolve, Linear, MatMul, Op, Recurrent


def multiply_adds(op: Op) -> int:
    """Multiply-adds of one sample in a product or a recurrence over weights of float32; 0 for other ops."""
    match op:
        case Linear():
            return op.output.elements * op.weight.shape[1]
        case Convolve():
            return op.multiply_adds
        case MatMul():
            return op.output.elements * op.a.shape[-1]
        case Attention():
            depth, (seen, count) = op.query.shape[-1], op.values.shape[-2:]
            return op.output.elements // count * seen * (depth + count)
        case Recurrent():
            return op.gates.shape[0] * op.weight.elements
    return 0
