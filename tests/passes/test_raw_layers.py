"""Which layers read raw observations: through everything but a product, and what the passes make of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.passes import bfloat16, quantize_dynamic
from grandopt.compiler.passes.raw_layers import raw_layers
from grandopt.errors import UnsupportedError
from tests.passes.programs import assert_untouched, fingerprint, program


class Mixed(nn.Module):
    """Two inputs, normalised and joined; a residual brings the raw ones past the first product."""

    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.norm, self.first = nn.LayerNorm(8), nn.Linear(12, 12)
        self.second, self.third = nn.Linear(12, 6), nn.Linear(6, 3)
        self.residual = residual

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        joined = torch.cat([self.norm(x * 2).view(-1, 8), y.clamp(-1, 1).reshape(-1, 4)], -1)
        hidden = torch.relu(self.first(joined))
        hidden = hidden + joined if self.residual else hidden
        return self.third(torch.tanh(self.second(hidden)))


class Functional(nn.Module):
    """The first product is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x @ self.weight)


class Shared(nn.Module):
    """One layer, called with raw observations and with what it made of them, known by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.again, self.head = self.first, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.first(x)))


KINDS = quantize_dynamic.LAYERS
PAIR = torch.ones(2, 8), torch.ones(2, 4)


def test_products_end_raw_observations_and_nothing_else_does() -> None:
    assert raw_layers(Mixed(residual=False).eval(), PAIR, KINDS) == {"first"}
    assert raw_layers(Mixed(residual=True).eval(), PAIR, KINDS) == {"first", "second"}
    assert raw_layers(Functional().eval(), (torch.ones(2, 8),), KINDS) == frozenset()
    assert raw_layers(Shared().eval(), (torch.ones(2, 8),), KINDS) == {"first", "again"}


def test_recurrent_layers_and_attention_end_them_too() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(8, 16, batch_first=True)
            self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(self.recurrent(x)[0])[:, -1])

    assert raw_layers(Sequence().eval(), (torch.ones(2, 5, 8),), KINDS) == {"recurrent"}
    encoder = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True).eval()
    # Its residual passes the attention, so that its first linear layer still sees what came in.
    assert raw_layers(encoder, (torch.ones(2, 5, 8),), KINDS) == {"linear1"}
    assert torch.backends.mha.get_fastpath_enabled()


def test_int8_inside_leaves_the_first_layers_exact_and_the_network_untouched() -> None:
    of = program(Mixed(residual=False), (8,), (4,))
    kept = fingerprint(of.module)
    made = quantize_dynamic.apply_inside(of)
    assert_untouched(of.module, kept)
    assert made.passes == ("quantize_dynamic_inside",)
    assert made.precision == "int8_dynamic"
    kinds = {name: type(layer) for name, layer in made.module.named_children()}
    assert kinds["first"] is nn.Linear
    assert kinds["second"] is kinds["third"] is quantize_dynamic.GuardedLinear


def test_bfloat16_inside_leaves_the_first_layers_exact() -> None:
    made = bfloat16.convert(program(Mixed(residual=True), (8,), (4,)), inside=True)
    assert made.passes == ("bfloat16_inside",)
    kinds = {name: type(layer) for name, layer in made.module.named_children()}
    assert kinds["first"] is kinds["second"] is nn.Linear
    assert kinds["third"] is bfloat16.Bfloat16Layer


def test_a_network_of_first_layers_alone_is_refused() -> None:
    of = program(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 3)), (8,))
    with pytest.raises(
        UnsupportedError, match=r"all its layers read raw observations.*none is left for int8"
    ):
        quantize_dynamic.apply_inside(of)
    with pytest.raises(UnsupportedError, match="none is left for bfloat16"):
        bfloat16.convert(of, inside=True)
