"""Folding keeps the function, removes the layer, and knows where it must not fold."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from grandopt.compiler.passes import fold_batchnorm
from grandopt.compiler.passes.check import check
from grandopt.compiler.program import evaluate
from tests.passes.programs import assert_untouched, fingerprint, program, shaken

CONVOLUTIONS = [
    (nn.Conv1d(3, 5, 3, bias=False), nn.BatchNorm1d(5), (3, 9)),
    (nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6), (4, 9, 9)),
    (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3, eps=1e-2), (2, 4, 4, 4)),
]


def norms(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules())


@pytest.mark.parametrize(("layer", "norm", "shape"), CONVOLUTIONS)
def test_convolutions_take_the_norm_in(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    before = program(shaken(nn.Sequential(layer, norm, nn.ReLU(), nn.Flatten())), shape)
    kept = fingerprint(before.module)
    after = fold_batchnorm.apply(before)
    assert after.passes == ("fold_batchnorm",)
    assert norms(after.module) == 0
    assert_untouched(before.module, kept)
    check(after, before)
    inputs = (torch.randn(5, *shape),)
    expected = evaluate(before.module, inputs)[0]
    torch.testing.assert_close(evaluate(after.module, inputs)[0], expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=25)
@given(
    widths=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    bias=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_any_stack_of_linear_layers_folds_exactly(
    widths: list[int], bias: bool, eps: float, seed: int
) -> None:
    layers: list[nn.Module] = []
    for first, second in itertools.pairwise(widths):
        layers += [nn.Linear(first, second, bias=bias), nn.BatchNorm1d(second, eps=eps), nn.Tanh()]
    before = program(shaken(nn.Sequential(*layers).double(), seed).float(), (widths[0],))
    after = fold_batchnorm.apply(before)
    assert norms(after.module) == 0
    inputs = (torch.randn(6, widths[0]),)
    expected = evaluate(before.module, inputs)[0]
    torch.testing.assert_close(evaluate(after.module, inputs)[0], expected, rtol=1e-4, atol=1e-5)


def test_it_finds_pairs_in_a_forward_of_its_own() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.BatchNorm1d(4), nn.Linear(4, 4)

        def forward(self, state: Tensor) -> Tensor:
            return state + F.relu(self.norm(self.layer(state)))

    before = program(shaken(Residual()), (4,))
    after = fold_batchnorm.apply(before)
    assert norms(after.module) == 0
    check(after, before)


class Reused(nn.Module):
    """Calls the norm twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, state: Tensor) -> Tensor:
        return self.norm(self.norm(self.layer(state)))


class Branching(Reused):
    """Uses what comes out of the layer twice."""

    def forward(self, state: Tensor) -> Tensor:
        hidden = self.layer(state)
        return self.norm(hidden) + hidden


class ReadsWeight(Reused):
    """Uses the layer's weight past the layer."""

    def forward(self, state: Tensor) -> Tensor:
        return self.norm(self.layer(state)) @ self.layer.weight


class OverSteps(nn.Module):
    """Normalises the steps of [B, steps, features], not the features."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(3)

    def forward(self, steps: Tensor) -> Tensor:
        return self.norm(self.layer(steps))


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    module[0].register_forward_hook(lambda *call: call[-1] * 2)
    return module


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Reused(), (4,)),
        (Branching(), (4,)),
        (ReadsWeight(), (4,)),
        (OverSteps(), (3, 4)),
        (hooked(), (4,)),
        (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)), (4,)),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)), (4,)),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,)),
        (torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()), (4,)),
    ],
)
def test_where_it_does_not_apply_the_program_is_the_same(module: nn.Module, shape: tuple[int, ...]) -> None:
    before = program(module, shape)
    assert fold_batchnorm.apply(before) is before


def test_a_network_that_cannot_be_followed_is_left_with_the_reason() -> None:
    class Branches(Reused):
        def forward(self, state: Tensor) -> Tensor:
            hidden = self.layer(state)
            return self.norm(hidden if state.sum() > 0 else -hidden)

    before = program(Branches(), (4,))
    after = fold_batchnorm.apply(before)
    assert after.module is before.module
    assert after.passes == ()
    (refusal,) = after.refusals
    assert refusal.stage == "fold_batchnorm"
    assert refusal.reason.text.startswith("torch.fx cannot follow the network: symbolically traced variables")
