"""Idle layers go; positions, names and the function stay."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.capture.export import export
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.passes import remove_identity
from grandopt.compiler.passes.check import check
from grandopt.compiler.program import evaluate
from tests.passes.programs import assert_untouched, fingerprint, program


def stack() -> nn.Sequential:
    inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6), nn.AlphaDropout())
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.1), nn.Identity(), inner, nn.ReLU())


def called(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[str]:
    """The classes of the leaf layers that run."""
    seen: list[str] = []
    handles = [
        layer.register_forward_hook(lambda layer, *_: seen.append(type(layer).__name__))
        for layer in module.modules()
        if not list(layer.children())
    ]
    evaluate(module, inputs)
    for handle in handles:
        handle.remove()
    return seen


def test_idle_layers_are_not_called_any_more() -> None:
    before = program(stack(), (4,))
    kept = fingerprint(before.module)
    after = remove_identity.apply(before)
    assert_untouched(before.module, kept)
    assert after.passes == ("remove_identity",)
    assert called(before.module, before.example) == [
        "Linear", "Dropout", "Identity", "Dropout", "Linear", "AlphaDropout", "ReLU"
    ]  # fmt: skip
    assert called(after.module, after.example) == ["Linear", "Linear", "ReLU"]
    assert torch.equal(evaluate(after.module, after.example)[0], evaluate(before.module, before.example)[0])
    check(after, before)


def test_names_and_positions_stay() -> None:
    class ByIndex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Dropout(), nn.Linear(4, 4))

        def forward(self, state: Tensor) -> Tensor:
            return self.net(state) @ self.net[1].weight

    before = program(ByIndex(), (4,))
    after = remove_identity.apply(before)
    assert after.module.state_dict().keys() == before.module.state_dict().keys()
    assert torch.equal(evaluate(after.module, after.example)[0], evaluate(before.module, before.example)[0])


def test_a_dropout_elsewhere_becomes_an_identity_that_still_has_its_rate() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.3)

        def forward(self, steps: Tensor) -> Tensor:
            rate = self.drop.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(steps, steps, steps, dropout_p=rate * self.drop.p)
            return self.drop(mixed)

    before = program(Attends(), (3, 4))
    after = remove_identity.apply(before)
    assert not any(isinstance(layer, nn.Dropout) for layer in after.module.modules())
    assert torch.equal(evaluate(after.module, after.example)[0], evaluate(before.module, before.example)[0])


def test_what_comes_out_is_captured_like_anything_else() -> None:
    after = trace(export(remove_identity.apply(program(stack(), (4,)))))
    assert after.refusals == ()
    assert after.traced is not None
    assert after.exported is not None


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 4), nn.ReLU()),
        torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()),
    ],
)
def test_without_idle_layers_the_program_is_the_same(module: nn.Module) -> None:
    before = program(module, (4,))
    assert remove_identity.apply(before) is before


def test_a_hook_on_an_idle_layer_keeps_it() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Identity())
    module[1].register_forward_hook(lambda *call: call[-1] * 2)
    before = program(module, (4,))
    assert remove_identity.apply(before) is before
