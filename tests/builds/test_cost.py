"""Weights and operations, counted and compared with what one counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.cost import flop, parameters, read_weights
from grandopt.compiler.program import Program
from tests.small_agents import Policy, Recurrent, program


def _encoder() -> Program:
    network = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    return capture(from_module("encoder", network, np.zeros((2, 10, 16), np.float32)), 0)


def test_linear_layers() -> None:
    assert parameters(program(Policy).module) == (8 * 16 + 16 + 16 * 3 + 3, 4 * 195)
    assert flop(program(Policy)) == 2 * (8 * 16 + 16 * 3)


class Looked(nn.Module):
    """A table of which a call reads a row, a layer that nothing calls, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, 8)
        self.idle = nn.Linear(50, 50)
        self.used = nn.Linear(8, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        row = self.table(x[:, 0].long().clamp(0, 999))
        return self.used(self.used(row)) + x


def test_weights_that_a_call_does_not_read_are_not_counted_as_read() -> None:
    of = capture(from_module("looked", Looked(), np.zeros((2, 8), np.float32)), 0)
    assert of.exported is not None
    assert read_weights(of) == (64, 4 * 64)
    # Without the graph, only tables are known to be read in part.
    assert read_weights(of.but(exported=None)) == (64 + 50 * 50 + 50, 4 * (64 + 50 * 50 + 50))
    assert parameters(of.module)[0] == 8000 + 64 + 50 * 50 + 50


def test_all_weights_of_plain_layers_are_read() -> None:
    for of in (program(Policy), program(Recurrent), _encoder()):
        assert read_weights(of)[0] == read_weights(of.but(exported=None))[0] == parameters(of.module)[0]


def test_a_recurrent_layer_is_counted_step_by_step() -> None:
    assert flop(program(Recurrent)) == 5 * 2 * 4 * 8 * (4 + 8) + 2 * 8 * 2


def test_attention_is_counted_without_its_fast_path() -> None:
    projections = 10 * (16 * 48 + 16 * 16 + 16 * 32 + 32 * 16)
    assert flop(_encoder()) == 2 * projections + 2 * 2 * 10 * 10 * 16
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("freeze", [False, True])
def test_an_archive_has_its_weights_in_the_graph(freeze: bool) -> None:
    of = program(Policy)
    archive = torch.jit.trace(of.module, of.example, check_trace=False)
    archive = torch.jit.freeze(archive) if freeze else archive
    assert parameters(archive) == parameters(of.module)
    assert flop(of.but(module=archive)) == flop(of)


def test_a_fused_operator_in_an_archive_is_not_undercounted() -> None:
    of = _encoder()
    with torch.no_grad():
        archive = torch.jit.trace(of.module, of.example, check_trace=False)
    assert "_transformer_encoder_layer_fwd" in str(archive.inlined_graph)
    assert flop(of.but(module=archive)) is None


def test_a_network_without_products_has_no_figure() -> None:
    of = capture(from_module("relu", nn.ReLU(), np.zeros((2, 4), np.float32)), 0)
    assert parameters(of.module) == (0, 0)
    assert flop(of) is None
