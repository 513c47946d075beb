"""Chains of convolutions against float64, over batches, levels and precisions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grandopt.compiler.backends.native.form import Convolve, Graph, Map, Op, Pad, Permute, Slice
from grandopt.compiler.backends.native.layout import lay_out
from grandopt.compiler.backends.native.passes.fold_pads import fold_pads
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.backends.native.work import multiply_adds
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.signature import Array
from tests.native.conftest import LEVELS, REDUCED, Make
from tests.native.convolutions import Causal, draw_chains
from tests.native.networks import Apply, Residual

FIRST, QUICK, ALL = 1, 12, 120


def _seeds() -> list[object]:
    marks = [
        [] if s < FIRST else [pytest.mark.slow] if s < QUICK else [pytest.mark.stress] for s in range(ALL)
    ]
    return [pytest.param(seed, marks=mark) for seed, mark in enumerate(marks)]


def _joined(parts: list[object]) -> list[Array]:
    return [np.concatenate([np.asarray(p) for p in part]) for part in zip(*parts, strict=True)]  # type: ignore[call-overload]


@pytest.mark.parametrize("seed", _seeds())
def test_a_chain_is_as_exact_as_torch(native: Make, seed: int) -> None:
    network, shape = draw_chains(seed)
    options = NativeOptions(levels=(LEVELS[seed % len(LEVELS)],), tile=(1, 4, 6)[seed % 3])
    executor = native(network, torch.zeros(2, *shape), name=f"chain{seed}", options=options)
    random = np.random.default_rng(seed)
    batches = [random.standard_normal((batch, *shape)).astype(np.float32) for batch in (1, 3, 7)]
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        wanted = _joined([exact(torch.from_numpy(batch).double()) for batch in batches])
        close = _joined([network(torch.from_numpy(batch)) for batch in batches])
    got = _joined([executor(batch) for batch in batches])
    for mine, truth, torchs in zip(got, wanted, close, strict=True):
        assert mine.shape == truth.shape
        allowed = 4 * np.abs(torchs - truth).max() + 1e-6 * np.abs(truth).max() + 1e-12
        assert np.abs(mine - truth).max() <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_chain_in_reduced_precision_is_near(native: Make, seed: int, weights: str) -> None:
    torch.manual_seed(seed)
    layers = (
        [
            nn.Conv1d(7, 33, 3),
            nn.ReLU(),
            Causal(33, 48, 3, 2, True),
            nn.Tanh(),
            nn.Conv1d(48, 48, 3, groups=48),
        ]
        if seed
        else [nn.Conv2d(3, 21, 4, stride=2), nn.ReLU(), nn.Conv2d(21, 33, 3, padding=1), nn.Flatten()]
    )
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    shape = (7, 21) if seed else (3, 14, 14)
    options = NativeOptions(levels=(REDUCED[0],), weights=weights)
    executor = native(network, torch.zeros(2, *shape), name=f"reduced{seed}", options=options)
    x = np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32)
    wanted = network(torch.from_numpy(x)).numpy()
    error = np.linalg.norm(executor(x) - wanted) / np.linalg.norm(wanted)
    assert 0 < error < 0.03


def _translated(network: nn.Module, shape: tuple[int, ...]) -> Graph:
    exported = capture(from_module("chain", network.eval(), (torch.zeros(2, *shape),)), 0).exported
    assert exported is not None
    return translate("chain", exported)


def _simplified(network: nn.Module, shape: tuple[int, ...]) -> Graph:
    return simplify(_translated(network, shape))


def test_of_some_channels_all_are_computed() -> None:
    """Positions are left out where nobody reads them; channels are whole."""
    network = nn.Sequential(nn.Conv1d(3, 7, 2), Apply(lambda x: x[:, 2:6, -1]))
    convolution = next(op for op in _simplified(network, (3, 9)).ops if isinstance(op, Convolve))
    assert convolution.output.shape == (1, 1, 7)


def _kinds(graph: Graph) -> list[type[Op]]:
    return [type(step.op) for step in lay_out(graph).steps]


def test_nothing_is_copied_between_convolutions() -> None:
    block = [Residual(nn.Sequential(Causal(12, 12, 3, d, crop=True), nn.ReLU())) for d in (1, 2, 4)]
    graph = _simplified(
        nn.Sequential(nn.Conv1d(5, 12, 1), *block, nn.Flatten(), nn.Linear(12 * 16, 3)), (5, 16)
    )
    assert not any(kind is Map for kind in _kinds(graph))
    assert not any(isinstance(op, (Permute, Slice)) for op in graph.ops[1:])


def test_an_image_is_written_within_its_border() -> None:
    """The only copy is that of the input; the other Pad fills what lies around it."""
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    graph = _simplified(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 36, 3)), (3, 6, 6))
    assert _kinds(graph).count(Map) == 1


class Last(nn.Module):
    """The last step of a causal network."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)[:, :, -1]


@pytest.mark.parametrize("crop", [True, False])
def test_only_positions_that_are_read_are_computed(crop: bool) -> None:
    layers: list[nn.Module] = [Causal(n, 6, 3, d, crop) for n, d in ((4, 1), (6, 2), (6, 4))]
    graph = _simplified(Last(layers), (4, 32))
    made = [op.output.shape[1] for op in graph.ops if isinstance(op, Convolve)]
    assert made == [7, 3, 1]  # steps 4 apart, then 2 apart
    assert sum(map(multiply_adds, graph.ops)) == 3 * 6 * (7 * 4 + 3 * 6 + 1 * 6)


def test_taps_beyond_the_edge_are_no_work() -> None:
    graph = _simplified(nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 8, 9))
    rows, columns = 3 + 3 + 3 + 2, 2 + 3 + 3 + 3 + 2
    assert sum(map(multiply_adds, graph.ops)) == rows * columns * 3 * 5
    graph = _simplified(nn.Conv1d(6, 6, 3, padding=1, groups=6), (6, 9))
    assert sum(map(multiply_adds, graph.ops)) == (3 * 9 - 2) * 6


def _padded(*widths: int, value: float = 0.0) -> nn.Module:
    return Apply(lambda x: F.pad(x, widths, value=value))


PADDED = {
    "within its own border": nn.Sequential(_padded(2, 0), nn.Conv1d(6, 5, 3, padding=1)),
    "twice": nn.Sequential(_padded(1, 0), _padded(0, 2), nn.Conv1d(6, 5, 3, dilation=2)),
    "of groups": nn.Sequential(_padded(3, 1), nn.Conv1d(6, 4, 3, stride=2, groups=2)),
    "of each channel": nn.Sequential(_padded(3, 1), nn.Conv1d(6, 6, 3, groups=6)),
    "wider than the taps": nn.Sequential(_padded(7, 0), nn.Conv1d(6, 5, 2)),
    "read by another, too": nn.Sequential(_padded(1, 1), Residual(nn.Conv1d(6, 6, 1))),
}


class AllPadded(nn.Module):
    """Every case, one output each."""

    def __init__(self) -> None:
        super().__init__()
        self.cases = nn.ModuleList(PADDED.values())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(case(x) for case in self.cases)


@pytest.fixture(scope="module")
def answered(native: Make) -> dict[str, tuple[Array, Array]]:
    """What an agent of all cases gives by their names, and what torch does."""
    torch.manual_seed(0)
    network = AllPadded().eval().requires_grad_(False)
    x = torch.randn(3, 6, 9)
    found = native(network, torch.zeros(2, 6, 9), name="padded").run([x.numpy()])
    wanted = [output.numpy() for output in network(x)]
    return dict(zip(PADDED, zip(found, wanted, strict=True), strict=True))


@pytest.mark.parametrize("case", PADDED)
def test_zeros_that_were_written_around_the_input_are_a_border(
    answered: dict[str, tuple[Array, Array]], case: str
) -> None:
    graph = fold_pads(_translated(PADDED[case].eval().requires_grad_(False), (6, 9)))
    assert any(isinstance(op, Pad) for op in graph.ops) == (case == "read by another, too")
    found, wanted = answered[case]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "pad", [_padded(1, 1, value=0.5), _padded(0, 0, 1, 0)], ids=["not of zeros", "of channels"]
)
def test_what_is_no_border_stays(pad: nn.Module) -> None:
    channels = pad(torch.zeros(1, 6, 9)).shape[1]
    graph = fold_pads(_translated(nn.Sequential(pad, nn.Conv1d(channels, 5, 3)), (6, 9)))
    assert any(isinstance(op, Pad) for op in graph.ops)
