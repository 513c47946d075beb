"""bfloat16 layers in a float32 network: near the original, same dtypes outside, only on CPUs that have it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import export
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.networks.reference import REFERENCE, build
from grandopt.compiler.passes import bfloat16
from grandopt.compiler.program import evaluate
from grandopt.errors import UnsupportedError
from tests.capture import agents
from tests.passes.programs import assert_untouched, fingerprint, program
from tests.passes.test_quantize_dynamic import Recurrent, relative_error


@pytest.mark.parametrize("name", sorted(set(REFERENCE) - {"tactical_embedder"}))
def test_reference_agents_keep_their_dtypes_and_nearly_their_values(name: str) -> None:
    before = program(build(name), *(spec.shape for spec in REFERENCE[name].inputs))
    after = bfloat16.convert(before)
    inputs = tuple(torch.randn(32, *spec.shape) for spec in REFERENCE[name].inputs)
    assert all(output.dtype == torch.float32 for output in evaluate(after.module, inputs))
    assert 0 < relative_error(after.module, before.module, inputs) < 0.05


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_work_in_bfloat16(kind: type[nn.LSTM]) -> None:
    torch.manual_seed(0)
    before = program(Recurrent(kind), (6, 4))
    kept = fingerprint(before.module)
    after = bfloat16.convert(before)
    assert_untouched(before.module, kept)
    assert {value.dtype for value in after.module.parameters()} == {torch.bfloat16}
    assert 1e-5 < relative_error(after.module, before.module, (torch.randn(8, 6, 4),)) < 0.05


def test_only_the_heavy_layers_change() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(-1))
    after = bfloat16.convert(program(module, (8,)))
    dtypes = {name: value.dtype for name, value in after.module.named_parameters()}
    assert dtypes["1.weight"] == torch.float32
    assert dtypes["0.layer.weight"] == dtypes["2.layer.weight"] == torch.bfloat16
    assert (after.precision, after.passes) == ("bfloat16", ("bfloat16",))


def test_a_layer_used_under_two_names_stays_one_layer() -> None:
    shared = nn.Linear(8, 8)
    after = bfloat16.convert(program(nn.Sequential(shared, nn.Tanh(), shared), (8,)))
    assert after.module[0] is after.module[2]


def test_what_comes_out_is_captured_like_anything_else() -> None:
    after = trace(export(bfloat16.convert(program(agents.Policy(), (8,)))))
    assert after.refusals == ()
    assert after.traced is not None
    assert after.exported is not None


def test_processors_without_the_instructions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no bfloat16 arithmetic"):
        bfloat16.require_bfloat16({"avx2": True, "avx512_bf16": False})
    bfloat16.require_bfloat16({"avx512_bf16": True})
    bfloat16.require_bfloat16({"amx_bf16": True})


def test_apply_converts_exactly_where_the_processor_can() -> None:
    before = program(agents.Policy(), (8,))
    features = torch.cpu.get_capabilities()
    if any(features.get(name) for name in bfloat16.INSTRUCTIONS):
        assert bfloat16.apply(before).precision == "bfloat16"
    else:
        with pytest.raises(UnsupportedError, match="no bfloat16 arithmetic"):
            bfloat16.apply(before)


class Doubled(agents.Policy):
    """Computes in float64 inside."""

    def __init__(self) -> None:
        super().__init__()
        self.net.double()

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state.double()).float()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.LayerNorm(8)), "no float32 Linear"),
        (Doubled(), "no float32 Linear"),
        (torch.jit.script(agents.Policy().eval()), "a TorchScript archive holds a graph"),
    ],
)
def test_what_cannot_be_bfloat16_is_refused_with_the_reason(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        bfloat16.convert(program(module, (8,)))
