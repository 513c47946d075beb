"""Products and recurrences whose inputs are rounded to bfloat16 and multiplied in pairs."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel
from grandopt.compiler.backends.native.render.weights import pairs_pay
from tests.native.programs import program, runner
from tests.native.test_level_programs import graph_of
from tests.native.test_property import GENERIC

PAIRS = [level for level in LEVELS if level.pairs and not level.tiles]
"""What tiles do with the same numbers, `test_tiles` looks at."""
FOUR = replace(GENERIC, name="generic-pairs", pairs=True)
SIXTEEN = replace(FOUR, name="generic-pairs-16", lanes=16)
ALL = [*PAIRS, FOUR, SIXTEEN]
named = {"ids": lambda level: level.name}


def rounded(x: Tensor) -> Tensor:
    return x.float().bfloat16().double()


class Layer(nn.Module):
    """One product with something to do for its epilogue."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.product = nn.Linear(width, count)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.product(x))


@functools.cache
def layered(rows: tuple[int, ...], width: int, count: int) -> tuple[Layer, Graph]:
    """A layer and its graph, captured once for all levels."""
    torch.manual_seed(width)
    layer = Layer(width, count).eval()
    return layer, graph_of(layer, (*rows, width))


@pytest.mark.parametrize("level", ALL, **named)
@pytest.mark.parametrize(
    ("rows", "width", "count"),
    [
        ((), 300, 144),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [((), 97, 50), ((7,), 64, 64), ((3,), 33, 147)]
        ),
    ],
)
def test_a_product_is_that_of_the_rounded_operands(
    tmp_path: Path, level: IsaLevel, rows: tuple[int, ...], width: int, count: int
) -> None:
    runner(level)
    layer, graph = layered(rows, width, count)
    tile = 4
    run = program(graph, [level], tmp_path, tile=tile, precision="bfloat16")
    torch.manual_seed(count)
    x = torch.randn(tile + 1, *rows, width)
    exact = copy.deepcopy(layer).double()
    exact.product.weight.data = rounded(layer.product.weight.data)
    with torch.no_grad():
        in_pairs, widened = exact(rounded(x)).numpy(), exact(x.double()).numpy()
    assert not np.allclose(in_pairs, widened, atol=2e-5)  # the two can be told apart
    np.testing.assert_allclose(run(x.numpy())[0], in_pairs, atol=2e-5)
    np.testing.assert_allclose(run(x.numpy()[:1])[0], in_pairs[:1], atol=2e-5)


class Cell(nn.Module):
    """All states of a recurrence."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], hidden: int) -> None:
        super().__init__()
        self.cell = kind(5, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


@functools.cache
def recurrence(kind: type[nn.LSTM] | type[nn.GRU], hidden: int) -> tuple[Cell, Graph]:
    """A recurrence with weights that lose nothing, and its graph."""
    torch.manual_seed(hidden)
    network = Cell(kind, hidden).eval()
    for parameter in network.parameters():
        parameter.data = parameter.data.bfloat16().float() * 2
    return network, graph_of(network, (2, 5))


@pytest.mark.parametrize("level", ALL, **named)
@pytest.mark.parametrize(
    ("kind", "hidden"), [(nn.GRU, 51), pytest.param(nn.LSTM, 67, marks=pytest.mark.slow)]
)
def test_a_recurrence_multiplies_the_rounded_state(
    tmp_path: Path, level: IsaLevel, kind: type[nn.LSTM] | type[nn.GRU], hidden: int
) -> None:
    runner(level)
    network, graph = recurrence(kind, hidden)
    run = program(graph, [level], tmp_path, tile=1, precision="bfloat16")
    torch.manual_seed(hidden)
    x = torch.randn(4, 2, 5)
    double = copy.deepcopy(network).double()
    with torch.no_grad():
        first = double(x[:, :1].double())  # from a state of zeros, which loses nothing either
        state = first[:, -1].float()
        _, *cell = double.cell(x[:, :1].double()) if kind is nn.GRU else double.cell(x[:, :1].double())[1]
        h = rounded(state).unsqueeze(0)
        carried = (h, cell[0]) if kind is nn.LSTM else h
        gates = double.cell(x[:, 1:].double(), carried)[0][:, 0]
        if kind is nn.GRU:  # the old state itself, which the update keeps a part of, is not rounded
            z = torch.sigmoid(
                x[:, 1].double() @ double.cell.weight_ih_l0[hidden : 2 * hidden].T
                + double.cell.bias_ih_l0[hidden : 2 * hidden]
                + h[0] @ double.cell.weight_hh_l0[hidden : 2 * hidden].T
                + double.cell.bias_hh_l0[hidden : 2 * hidden]
            )
            gates = gates + z * (state.double() - h[0])
        plain = double(x.double())[:, 1]
    (got,) = run(x.numpy())
    np.testing.assert_allclose(got[:, 0], first[:, 0].numpy(), atol=2e-6)
    # A state next to the middle of two bfloat16 numbers may be rounded either way.
    assert np.median(np.abs(got[:, 1] - gates.numpy())) < 2e-6
    assert np.abs(got[:, 1] - gates.numpy()).max() < 5e-3
    assert np.median(np.abs(got[:, 1] - plain.numpy())) > 1e-5  # it was rounded


@functools.cache
def rectified() -> Graph:
    torch.manual_seed(0)
    return graph_of(nn.Sequential(nn.Linear(75, 96), nn.ReLU()), (3, 75))


@pytest.mark.parametrize("level", ALL, **named)
def test_nan_and_infinity_stay_in_their_rows(tmp_path: Path, level: IsaLevel) -> None:
    runner(level)
    run = program(rectified(), [level], tmp_path, tile=1, precision="bfloat16")
    x = np.random.default_rng(0).standard_normal((5, 3, 75)).astype(np.float32)
    (clean,) = run(x)
    x[2, 1, 3], x[4, 2, 74] = np.nan, np.inf
    (dirty,) = run(x)
    assert np.isnan(dirty[2, 1]).all()
    assert not np.isfinite(dirty[4, 2]).all()
    same = np.ones((5, 3), bool)
    same[2, 1] = same[4, 2] = False
    np.testing.assert_array_equal(dirty[same], clean[same])


def test_small_products_stay_in_float32() -> None:
    assert pairs_pay(64, 64)
    assert not pairs_pay(3, 2048)
    assert not pairs_pay(256, 17)
    assert not pairs_pay(63, 64)
