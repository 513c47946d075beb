"""What a network gives is observed, and a network that does not keep the contract is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.errors import GrandoptError, SignatureError
from grandopt.signature import Contract
from tests.capture import agents
from tests.capture.agents import checkpoint


class Returns(nn.Module):
    """Gives what a function of the state gives."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, state: Tensor) -> object:
        return self.function(state)  # type: ignore[operator]


def test_outputs_are_numbered_and_described() -> None:
    module = Returns(lambda state: (state[:, :2].double(), state.argmax(-1)))
    signature = capture(checkpoint(module, (4,))).signature
    assert [(spec.name, spec.shape, spec.dtype, spec.role) for spec in signature.outputs] == [
        ("output_0", (2,), "float64", "value"),
        ("output_1", (), "int64", "value"),
    ]


def test_the_first_output_of_an_agent_with_an_action_is_the_action() -> None:
    module = Returns(lambda state: (state.argmax(-1), state))
    program = capture(checkpoint(module, (4,), contract=Contract(action="argmax")))
    assert [spec.role for spec in program.signature.outputs] == ["action", "value"]


def test_names_and_roles_come_from_the_checkpoint() -> None:
    named = checkpoint(agents.Policy(), (8,), output_names=("logits",), output_roles=("scores",))
    (spec,) = capture(named).signature.outputs
    assert (spec.name, spec.role) == ("logits", "scores")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda state: state.mean(), r"output_0 does not carry the batch first: .* gave the shape \[\]"),
        (lambda state: state.t(), r"output_0 does not carry the batch first: .* shape \[4, 2\]"),
        (lambda state: torch.ones(2, 3), "output_0 does not carry the batch first: inputs with a batch of 3"),
        (lambda state: state @ state.t(), r"is \[2\] for a batch of 2 but \[3\] for one of 3"),
        (lambda state: tuple(state.split(1)), r"gives 2 output\(s\), but 3 for a batch of 3|batch first"),
    ],
)
def test_an_output_without_the_batch_in_front_is_refused(function: object, message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        capture(checkpoint(Returns(function), (4,)))


@pytest.mark.parametrize("network", [agents.FixedPair, agents.FixedSingle])
def test_a_network_for_one_batch_size_is_refused(network: type[nn.Module]) -> None:
    with pytest.raises(
        SignatureError, match=r"but not of [23] \(shape '\[[12], 8\]' is invalid.*is built in"
    ):
        capture(checkpoint(network(), (8,)))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            agents.Policy(),
            r"declared inputs \(in_0 \[9\] float32\): mat1 and mat2 shapes cannot be multiplied",
        ),
        (
            torch.jit.script(agents.Policy()),
            r"in_0 \[9\] float32\): mat1 and mat2 shapes cannot be multiplied",
        ),
        (Returns(lambda state: {"a": state}), "must return a tensor or a tuple of tensors, got dict"),
        (Returns(lambda state: ()), "must return a tensor or a tuple of tensors, got nothing"),
        (Returns(lambda state: {}["key"]), "KeyError: 'key'"),
    ],
)
def test_a_network_that_does_not_run_is_refused_in_one_line(module: nn.Module, message: str) -> None:
    with pytest.raises(SignatureError, match=message) as caught:
        capture(checkpoint(module, (9,)))
    assert "\n" not in str(caught.value)


def test_a_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(SignatureError, match="positional argument"):
        capture(checkpoint(agents.Policy(), (8,), (8,)))


@pytest.mark.parametrize("fields", [{"output_names": ("a", "b")}, {"output_roles": ("value", "value")}])
def test_a_wrong_number_of_names_or_roles_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(GrandoptError, match=r"2 output (names|roles) for 1 output\(s\)"):
        capture(checkpoint(agents.Policy(), (8,), **fields))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sparse", torch.Tensor.to_sparse),
        ("quantized", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)),
    ],
)
def test_an_output_that_is_no_plain_tensor_is_named(kind: str, make: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return make(x)

    with pytest.raises(SignatureError, match=f"output 0 of the network is a {kind}.* tensor"):
        capture(from_module("net", Net(), np.zeros((2, 3), np.float32)))
