"""Products of matrices."""

from __future__ import annotations

import torch

from grandopt.compiler.checkpoints.onnx.call import Call, Result, operator


@operator("MatMul")
def matmul(call: Call) -> Result:
    """As NumPy multiplies; by a constant matrix it is a linear layer."""
    if call.prepared:
        return torch.nn.functional.linear(call.tensor(0), call.prepared[0])
    return torch.matmul(call.tensor(0), call.tensor(1))


def matmul_weight(call: Call) -> tuple[torch.Tensor, ...]:
    """A constant matrix as torch's linear layer has it; nothing for other constants."""
    right = call.tensor(1)
    return (right.t().contiguous(),) if right.dim() == 2 else ()


@operator("Gemm")
def gemm(call: Call) -> Result:
    """alpha A B + beta C, each of A and B transposed or not."""
    left, bias = call.tensor(0), call.optional(2)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    left = left.t() if call.attribute("transA", 0) else left
    if call.prepared:
        weight = call.prepared[0]
    else:
        weight = call.tensor(1) if call.attribute("transB", 0) else call.tensor(1).t()
    if alpha == 1.0 and (bias is None or (beta == 1.0 and bias.dim() == 1 and bias.shape[0] != 1)):
        return torch.nn.functional.linear(left, weight, bias)
    product = left @ weight.t()
    product = product if alpha == 1.0 else alpha * product
    if bias is None or beta == 0.0:
        return product
    return product + (bias if beta == 1.0 else beta * bias)


def gemm_weight(call: Call) -> tuple[torch.Tensor, ...]:
    """The weight of a Gemm as torch's linear layer has it, where the file has it otherwise."""
    right = call.tensor(1)
    return () if call.attribute("transB", 0) else (right.t().contiguous(),)


@operator("Einsum")
def einsum(call: Call) -> Result:
    """By an equation."""
    return torch.einsum(call.attribute("equation", "").replace(" ", ""), *call.tensors())
