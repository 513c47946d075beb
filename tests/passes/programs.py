"""Programs for passes: captured from a module without exporting it, and fingerprints to see that it stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grandopt.compiler.capture.inputs import draw
from grandopt.compiler.capture.signature import EXAMPLE_BATCH, observe
from grandopt.compiler.program import Program
from tests.capture.agents import checkpoint


def program(module: nn.Module, *shapes: tuple[int, ...], **fields: object) -> Program:
    """The module as a program, neither exported nor traced."""
    found = checkpoint(module, *shapes)
    example = draw(found.inputs, EXAMPLE_BATCH, seed=0)
    return Program(
        name=found.name,
        signature=observe(found, example),
        contract=found.contract,
        source=found.source,
        module=found.module,
        example=example,
        **fields,  # type: ignore[arg-type]
    )


def fingerprint(module: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """The structure and a copy of all weights and buffers."""
    return str(module), {key: value.clone() for key, value in module.state_dict().items()}


def assert_untouched(module: nn.Module, before: tuple[str, dict[str, Tensor]]) -> None:
    structure, weights = before
    now = module.state_dict()
    assert str(module) == structure
    assert now.keys() == weights.keys()
    assert all(torch.equal(now[key], weights[key]) for key in weights)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with normalisation statistics and scales as training leaves them, not as new."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            for value in (layer.running_mean, layer.bias):
                if value is not None:
                    value.data.copy_(torch.randn(value.shape, generator=generator))
            for value in (layer.running_var, layer.weight):
                if value is not None:
                    value.data.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module
