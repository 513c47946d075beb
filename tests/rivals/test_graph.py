"""An agent's elementary layers, computed one by one with NumPy, against the agent itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from grandopt.compiler.backends.portable.graph import Graph
from grandopt.compiler.backends.portable.layers import KINDS
from grandopt.compiler.backends.portable.translate import translate
from grandopt.errors import UnsupportedError
from tests.rivals.interpreted import interpreted
from tests.rivals.networks import NETWORKS, Elementwise, exported
from tests.small_agents import Borrowing


@functools.cache
def example(name: str) -> tuple[nn.Module, tuple[tuple[int, ...], ...], Graph]:
    """A network, the shapes of its inputs and its layers, translated once for all batches."""
    network, shapes = NETWORKS[name]()
    return network, tuple(shapes), translate(exported(network, shapes))


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_compute_what_the_network_computes(name: str, batch: int, tmp_path: Path) -> None:
    network, shapes, made = example(name)
    made.save(tmp_path / "graph.npz")
    graph = Graph.load(tmp_path / "graph.npz").at(batch)
    assert {layer.kind for layer in graph.layers} <= set(KINDS)
    assert not any(size < 0 for layer in graph.layers for size in layer.shape)
    generator = torch.Generator().manual_seed(batch)
    inputs = [torch.randn((batch, *shape), generator=generator) for shape in shapes]
    with torch.no_grad():
        wanted = network(*inputs)
    found = interpreted(graph, [value.numpy() for value in inputs])
    outputs = wanted if isinstance(wanted, tuple) else (wanted,)
    assert len(found) == len(outputs)
    for one, other in zip(found, outputs, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: x.argmax(-1), "aten.argmax.default is not covered"),
        (lambda x: x.long(), "aten._to_copy.default: int64 is not covered"),
        (lambda x: x.cumsum(-1), "aten.cumsum.default is not covered"),
        (lambda x: x**3, r"aten.pow.Tensor_Scalar: the power 3 is not covered"),
        (lambda x: F.conv_transpose1d(x[:, None], torch.ones(1, 2, 3)), "only convolutions of one and two"),
        (lambda x: x[:, ::2], "steps, and slices of the batch, are not covered"),
    ],
)
def test_what_layers_cannot_express_is_named(
    call: Callable[[torch.Tensor], torch.Tensor], named: str
) -> None:
    with pytest.raises(UnsupportedError, match=named):
        translate(exported(Elementwise(call), [(6,)]))


def test_outputs_may_be_inputs_constants_and_each_other() -> None:
    network: nn.Module = Borrowing().eval()
    state = torch.randn(3, 4)
    graph = translate(exported(network, [(4,)])).at(3)
    with torch.no_grad():
        wanted = network(state)
    for one, other in zip(interpreted(graph, [state.numpy()]), wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-6, atol=1e-6)
