"""Fold batch normalisation into the convolution or linear layer before it.

In eval mode batch normalisation is an affine map per channel, which the layer before it can absorb (Jacob et
al. 2018, section 3.2). The new weights are computed in float64 and rounded once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from grandopt.compiler.passes.calls import CallGraph
from grandopt.compiler.program import Program, Refusal, copied, evaluate
from grandopt.errors import UnsupportedError
from grandopt.reason import Reason, ReasonCode

NAME = "fold_batchnorm"

FOLDABLE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}


def apply(program: Program) -> Program:
    """The program with every foldable normalisation gone; the same program where there is none.

    `exported` and `traced` of a changed program are None, to be captured anew. A network that has batch
    normalisation but cannot be followed symbolically is left as it is, with a refusal.
    """
    if not any(type(layer) in FOLDABLE.values() for layer in program.module.modules()):
        return program
    module = copied(program.module)
    try:
        chains = CallGraph(module).chains()
    except UnsupportedError as error:
        reason = Reason(ReasonCode.PASS_NOT_APPLIED, str(error))
        return program.but(refusals=(*program.refusals, Refusal(NAME, reason)))
    flat = _two_dimensional(module, program.example)
    folded = [pair for pair in chains if _foldable(module, *pair, flat)]
    for first, second in folded:
        module.set_submodule(first, _fold(module.get_submodule(first), module.get_submodule(second)))
        module.set_submodule(second, nn.Identity().eval())
    return program.after(NAME, module=module, exported=None, traced=None) if folded else program


def _foldable(module: nn.Module, first: str, second: str, flat: set[str]) -> bool:
    layer, norm = module.get_submodule(first), module.get_submodule(second)
    if FOLDABLE.get(type(layer)) is not type(norm) or not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        return False
    fixed = not norm.training and norm.running_mean is not None and norm.affine
    # On [B, L, C] a BatchNorm1d normalises L, which the Linear before it knows nothing of.
    return fixed and (type(layer) is not nn.Linear or second in flat)


def _two_dimensional(module: nn.Module, example: Sequence[torch.Tensor]) -> set[str]:
    """Names of the BatchNorm1d layers that are called with [B, C] on the example."""
    seen: set[str] = set()

    def note(name: str, value: torch.Tensor) -> None:
        if value.dim() == 2:
            seen.add(name)

    handles = [
        layer.register_forward_pre_hook(lambda _, values, name=name: note(name, values[0]))
        for name, layer in module.named_modules()
        if type(layer) is nn.BatchNorm1d
    ]
    evaluate(module, example)
    for handle in handles:
        handle.remove()
    return seen


def _fold(layer: Any, norm: Any) -> nn.Module:
    wide, wide_norm = copy.deepcopy(layer).double(), copy.deepcopy(norm).double()
    fuse = fuse_linear_bn_eval if type(layer) is nn.Linear else fuse_conv_bn_eval
    folded: nn.Module = fuse(wide, wide_norm)
    return folded.to(layer.weight.dtype).requires_grad_(False)
