"""int8 layers: near the original, traceable, and refused with the reason where they cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.networks.reference import REFERENCE, build
from grandopt.compiler.passes import quantize_dynamic
from grandopt.compiler.program import evaluate
from grandopt.errors import UnsupportedError
from tests.capture import agents
from tests.capture.agents import checkpoint
from tests.passes.programs import assert_untouched, fingerprint, program


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cell = kind(4, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, steps: Tensor) -> Tensor:
        return self.head(self.cell(steps)[0][:, -1])


def relative_error(module: nn.Module, original: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    pairs = zip(evaluate(module, inputs), evaluate(original, inputs), strict=True)
    return max(float((got - want).norm() / want.norm()) for got, want in pairs)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_become_int8_and_can_be_traced(kind: type[nn.LSTM]) -> None:
    torch.manual_seed(0)
    before = program(Recurrent(kind), (6, 4))
    kept = fingerprint(before.module)
    after = trace(quantize_dynamic.apply(before))
    assert_untouched(before.module, kept)
    assert (after.precision, after.passes, after.exported) == ("int8_dynamic", ("quantize_dynamic",), None)
    assert not any(isinstance(layer, nn.Linear | nn.RNNBase) for layer in after.module.modules())
    inputs = (torch.randn(16, 6, 4),)
    error = relative_error(after.module, before.module, inputs)
    assert 1e-6 < error < 0.05
    assert after.traced is not None
    assert relative_error(after.traced, after.module, inputs) < 1e-6


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_every_reference_agent_can_be_int8(name: str) -> None:
    before = program(build(name), *(spec.shape for spec in REFERENCE[name].inputs))
    after = quantize_dynamic.apply(before)
    inputs = tuple(torch.randn(32, *spec.shape) for spec in REFERENCE[name].inputs)
    assert 0 < relative_error(after.module, before.module, inputs) < 0.1


def test_int8_weights_are_a_quarter_of_the_bytes() -> None:
    before = program(nn.Sequential(nn.Linear(512, 512), nn.ReLU()), (512,))
    after = quantize_dynamic.apply(before)
    layer = after.module[0]
    weight = layer.layer.weight()
    assert weight.dtype == torch.qint8
    assert weight.element_size() * weight.numel() * 4 == 512 * 512 * 4


def test_the_scores_stay_those_of_the_decision() -> None:
    class Decides(nn.Module):
        def __init__(self, scores: nn.Module) -> None:
            super().__init__()
            self.scores = scores

        def forward(self, state: Tensor) -> Tensor:
            return self.scores(state).argmax(-1)

    scores = agents.Policy().eval()
    after = quantize_dynamic.apply(program(Decides(scores), (8,), scores=scores))
    inputs = (torch.randn(200, 8),)
    assert after.scores is not None
    decided = evaluate(after.scores, inputs)[0]
    assert torch.equal(evaluate(after.module, inputs)[0], decided.argmax(-1))
    assert not torch.equal(decided, evaluate(scores, inputs)[0])


def test_a_harmless_check_is_still_traced_once_the_layers_are_int8() -> None:
    captured = capture(checkpoint(agents.ChecksItsInput(), (8,)))
    assert captured.exported is not None
    assert trace(quantize_dynamic.apply(captured)).traced is not None


def test_a_branch_is_not_traced_once_the_layers_are_int8() -> None:
    after = trace(quantize_dynamic.apply(capture(checkpoint(agents.RareBranch(), (8,)))))
    assert after.traced is None
    assert "may depend on data that no draw had" in after.refusals[-1].reason.text


class ReadsWeight(agents.Policy):
    """Uses the layer's weight past the layer, which an int8 layer does not have."""

    def forward(self, state: Tensor) -> Tensor:
        return F.linear(state, self.net[0].weight, self.net[0].bias)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.LayerNorm(8), nn.ReLU()), "no Linear, LSTM or GRU layer"),
        (torch.jit.script(agents.Policy().eval()), "a TorchScript archive holds a graph"),
        (ReadsWeight(), "does not run with int8 layers"),
    ],
)
def test_what_cannot_be_int8_is_refused_with_the_reason(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        quantize_dynamic.apply(program(module, (8,)))
    assert "\n" not in str(caught.value)


def test_an_exported_graph_has_no_layers_to_quantize() -> None:
    module = agents.Policy().eval().requires_grad_(False)
    graph = torch.export.export(
        module, (torch.randn(2, 8),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    ).module()
    before = program(copy.deepcopy(module), (8,)).but(module=graph)
    with pytest.raises(UnsupportedError, match="no Linear, LSTM or GRU layer"):
        quantize_dynamic.apply(before)


def test_a_program_is_not_quantized_twice() -> None:
    once = quantize_dynamic.apply(program(agents.Policy(), (8,)))
    with pytest.raises(UnsupportedError, match="not from int8_dynamic"):
        quantize_dynamic.apply(once)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_rows_that_are_not_finite_come_out_as_nan_and_leave_the_others_alone(bad: float) -> None:
    before = program(nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)), (32,))
    module = quantize_dynamic.apply(before).module
    clean = torch.rand(3, 32)
    dirty = clean.clone()
    dirty[1, 5] = bad
    with torch.inference_mode():
        expected, got = module(clean), module(dirty)
    assert got[1].isnan().all()
    assert torch.isfinite(got[[0, 2]]).all()
    # The scale of the activations is that of the whole batch, so other rows may round differently.
    assert torch.allclose(got[[0, 2]], expected[[0, 2]], atol=0.02)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_sequence_that_is_not_finite_comes_out_as_nan(kind: type[nn.Module], batch_first: bool) -> None:
    layer = kind(8, 16, 2, batch_first=batch_first, bidirectional=True).eval()
    guarded = quantize_dynamic.GuardedRecurrent(
        torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {kind}, dtype=torch.qint8)[0]
    )
    value = torch.rand(3, 5, 8)
    value[1, 2, 3] = float("nan")
    with torch.inference_mode():
        output, state = guarded(value if batch_first else value.transpose(0, 1).contiguous())
    output = output if batch_first else output.transpose(0, 1)
    states = state if isinstance(state, tuple) else (state,)
    assert output[1].isnan().all()
    assert torch.isfinite(output[[0, 2]]).all()
    for item in states:
        assert item[:, 1].isnan().all()
        assert torch.isfinite(item[:, [0, 2]]).all()
