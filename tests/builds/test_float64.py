"""The reference: float64 where that is possible, and honest where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.signature import Array
from tests.small_agents import Branching, Pair, Policy, Recurrent, draw, expected, program


def _policy_by_hand(module: nn.Module, state: Array) -> Array:
    weights = {name: value.double().numpy() for name, value in module.state_dict().items()}
    hidden = np.maximum(state.astype(np.float64) @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    scores = hidden @ weights["head.weight"].T + weights["head.bias"]
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("exported", [True, False], ids=["graph", "module"])
def test_it_is_as_exact_as_arithmetic_by_hand(exported: bool) -> None:
    of = program(Policy) if exported else program(Policy).but(exported=None)
    found = reference(of)
    assert (found.precision, found.reason) == ("float64", None)
    inputs = draw(of, 7)
    (output,) = found.outputs(inputs)
    assert output.dtype == np.float64
    np.testing.assert_allclose(output, _policy_by_hand(of.module, inputs[0]), rtol=1e-13)
    error = np.abs(expected(of, inputs)[0] - output).max()
    assert 0 < error < 1e-6
    assert found.scores(inputs) is None


@pytest.mark.parametrize("network", [Pair, Recurrent, Branching], ids=lambda network: network.__name__)
def test_every_kind_of_network_has_a_float64_form(network: type[nn.Module]) -> None:
    found = reference(program(network))
    assert found.precision == "float64", found.reason
    for batch in (1, 5):
        inputs = draw(program(network), batch)
        for exact, narrow in zip(found.outputs(inputs), expected(program(network), inputs), strict=True):
            assert exact.dtype == (np.float64 if narrow.dtype == np.float32 else narrow.dtype)
            assert exact.shape == narrow.shape
            np.testing.assert_allclose(exact, narrow, rtol=1e-4, atol=1e-5)


class _Narrowing(nn.Module):
    """Names float32 in its code, in four ways that the float64 form must see through."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.offsets = torch.full((4,), 0.1)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        bias = torch.zeros(4, dtype=torch.float32) + torch.linspace(0.0, 1.0, 4)
        return (self.head(state.to(torch.float32)) + bias + self.offsets).float() / 3


def test_float32_in_the_code_is_widened_in_the_graph() -> None:
    of = capture(from_module("narrowing", _Narrowing(), np.zeros((2, 4), np.float32)), 0)
    found = reference(of)
    assert found.precision == "float64", found.reason
    inputs = draw(of, 3)
    (output,) = found.outputs(inputs)
    weight, bias = (value.double().numpy() for value in of.module.head.parameters())
    by_hand = inputs[0].astype(np.float64) @ weight.T + bias + np.linspace(0.0, 1.0, 4) + np.float32(0.1)
    np.testing.assert_allclose(output, by_hand / 3, rtol=1e-13)


def test_without_a_float64_form_it_is_float32_and_says_so() -> None:
    of = capture(from_module("narrowing", _Narrowing(), np.zeros((2, 4), np.float32)), 0)
    found = reference(of.but(exported=None))
    assert found.precision == "float32"
    assert found.reason is not None
    assert found.reason.startswith("no float64 form: ")
    assert "\n" not in found.reason
    inputs = draw(of, 3)
    (output,) = found.outputs(inputs)
    assert output.dtype == np.float64
    np.testing.assert_array_equal(output, expected(of, inputs)[0])


def test_a_graph_that_computes_something_else_is_not_used() -> None:
    """A wrong reference would widen the tolerance that candidates are held to."""
    other = capture(from_module("policy", _perturbed(program(Policy)), np.zeros((2, 8), np.float32)), 0)
    of = program(Policy).but(exported=other.exported)
    inputs = draw(of, 3)
    found = reference(of)
    assert found.precision == "float64"
    np.testing.assert_allclose(found.outputs(inputs)[0], expected(of, inputs)[0], atol=1e-6)


def _perturbed(of: Program) -> nn.Module:
    module = type(of.module)()
    module.load_state_dict({name: value * 2 for name, value in of.module.state_dict().items()})
    return module.eval()


def test_scores_are_exact_too_and_nothing_is_shared() -> None:
    of = program(Policy).but(scores=program(Policy).module)
    found = reference(of)
    inputs = draw(of, 4)
    kept = [array.copy() for array in inputs]
    scores = found.scores(inputs)
    assert scores is not None
    np.testing.assert_allclose(scores, _policy_by_hand(of.module, inputs[0]), rtol=1e-13)
    scores[...] = 0
    (output,) = found.outputs(inputs)
    np.testing.assert_allclose(output, _policy_by_hand(of.module, inputs[0]), rtol=1e-13)
    np.testing.assert_array_equal(inputs[0], kept[0])
    assert all(value.dtype == torch.float32 for value in of.module.parameters())


def test_nan_goes_through() -> None:
    inputs = draw(program(Policy), 2)
    inputs[0][1] = np.nan
    (output,) = reference(program(Policy)).outputs(inputs)
    assert np.isfinite(output[0]).all()
    assert np.isnan(output[1]).all()
