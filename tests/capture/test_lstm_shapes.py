"""An LSTM is exported by the shapes of its first step; the graph is the one that all its steps give."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch._decomp import decompositions

from grandopt.compiler.capture import export
from grandopt.compiler.capture.lstm_shapes import one_step_shows

FEATURES, STEPS, HIDDEN = 3, 9, 5


class Recurrent(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, **options)

    def forward(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        out, (last, cell) = self.lstm(value)
        return out * 2, last.transpose(0, 1), cell.transpose(0, 1)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"batch_first": True},
    "two layers, both directions": {"batch_first": True, "num_layers": 2, "bidirectional": True},
    "projected": {"batch_first": True, "proj_size": 2, "bidirectional": True},
    "without biases": {"batch_first": True, "bias": False},
    "in float64": {"batch_first": True, "dtype": torch.float64},
}


def exported(kind: str) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    options = KINDS[kind]
    network = Recurrent(**options).eval()
    example = torch.zeros(2, STEPS, FEATURES, dtype=options.get("dtype", torch.float32))
    return export._exported(network, (example,))


def described(program: torch.export.ExportedProgram) -> list[Any]:
    """Every node with the shapes and dtypes noted of it. Each export numbers its dimensions itself."""
    names: dict[str, str] = {}

    def plain(value: Any) -> str:
        return (
            names.setdefault(str(value), f"d{len(names)}") if isinstance(value, torch.SymInt) else str(value)
        )

    def of(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [of(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return plain(value)
        return [plain(size) for size in value.shape], len(value.stride()), value.is_contiguous(), value.dtype

    return [(node.name, str(node.target), of(node.meta.get("val"))) for node in program.graph.nodes]


@pytest.fixture
def steps_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every step of an LSTM that is run on tensors without values."""
    run: list[int] = []
    original = decompositions.lstm_cell

    def cell(*arguments: Any, **options: Any) -> Any:
        run.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(decompositions, "lstm_cell", cell)
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_is_that_of_all_steps(
    kind: str, monkeypatch: pytest.MonkeyPatch, steps_run: list[int]
) -> None:
    quick = exported(kind)
    layers = KINDS[kind].get("num_layers", 1) * (1 + KINDS[kind].get("bidirectional", False))
    assert len(steps_run) == layers
    monkeypatch.setattr(export, "one_step_shows", nullcontext)
    slow = exported(kind)
    assert len(steps_run) == layers + layers * STEPS
    assert quick.graph_module.code == slow.graph_module.code
    assert described(quick) == described(slow)


def test_it_computes_what_the_network_does_at_another_batch() -> None:
    torch.manual_seed(0)
    network = Recurrent(**KINDS["two layers, both directions"]).eval()
    program = export._exported(network, (torch.zeros(2, STEPS, FEATURES),))
    value = torch.randn(7, STEPS, FEATURES)
    with torch.no_grad():
        for wanted, given in zip(network(value), program.module()(value), strict=True):
            torch.testing.assert_close(given, wanted, rtol=0, atol=0)


def test_what_has_values_is_computed_step_by_step(steps_run: list[int]) -> None:
    value, state = torch.randn(STEPS, 1, FEATURES), torch.zeros(1, HIDDEN)
    weights = [torch.randn(4 * HIDDEN, FEATURES), torch.randn(4 * HIDDEN, HIDDEN)]
    original = decompositions.one_layer_lstm
    wanted, _ = original(value, (state, state), weights, False)
    with one_step_shows():
        given, _ = decompositions.one_layer_lstm(value, (state, state), weights, False)
    assert torch.equal(given, wanted)
    assert len(steps_run) == 2 * STEPS
    assert decompositions.one_layer_lstm is original
