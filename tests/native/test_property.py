"""Random networks against float64, at every feature level that this machine has, over several batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native import levels
from grandopt.config.schema import NativeOptions
from tests.native.conftest import LEVELS, Make
from tests.native.networks import draw

FUSED = ("-mfma",) if architecture() == "x86_64" else ()  # NEON has fused multiply-adds, plain SSE has not
GENERIC = levels.Level("generic", architecture(), 4, 32, (), FUSED)
QUICK, ALL = 24, 320


def _seeds() -> list[object]:
    return [pytest.param(seed, marks=[] if seed < QUICK else pytest.mark.stress) for seed in range(ALL)]


@pytest.mark.parametrize("seed", _seeds())
def test_a_random_network_is_as_exact_as_torch(native: Make, seed: int) -> None:
    network, shape = draw(seed)
    options = NativeOptions(levels=(LEVELS[seed % len(LEVELS)],), tile=(1, 4, 8)[seed % 3])
    executor = native(network, torch.zeros(2, *shape), name=f"random{seed}", options=options)
    exact = copy.deepcopy(network).double()
    random = np.random.default_rng(seed)
    for batch in (1, 3, 13):
        inputs = random.standard_normal((batch, *shape)).astype(np.float32)
        strided = np.repeat(inputs, 2, axis=-1)[..., ::2]  # the same numbers in another layout
        got = executor(strided)
        with torch.no_grad():
            wanted, close = exact(torch.from_numpy(inputs).double()), network(torch.from_numpy(inputs))
        _compare(got, wanted, close)


@pytest.mark.parametrize(
    "seed", [0, 3, 5, 11, 14, *(pytest.param(s, marks=pytest.mark.stress) for s in range(60))]
)
def test_the_compilers_own_vectors_are_as_exact(
    native: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The text that other architectures get, with four lanes, compiled for this one."""
    monkeypatch.setattr(levels, "LEVELS", (*levels.LEVELS, GENERIC))
    network, shape = draw(seed)
    options = NativeOptions(levels=("generic",), tile=4)
    executor = native(network, torch.zeros(2, *shape), name=f"generic{seed}", options=options)
    exact = copy.deepcopy(network).double()
    inputs = np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32)
    with torch.no_grad():
        wanted, close = exact(torch.from_numpy(inputs).double()), network(torch.from_numpy(inputs))
    _compare(executor(inputs), wanted, close)


def _compare(got: object, wanted: object, close: object) -> None:
    triples = zip(*(v if isinstance(v, tuple) else (v,) for v in (got, wanted, close)), strict=True)
    for mine, exact, torchs in triples:
        exact, torchs = exact.numpy(), torchs.numpy()
        assert mine.shape == exact.shape
        assert mine.dtype == torchs.dtype
        if mine.dtype == np.int64:
            agreed = np.mean(mine == exact)  # a near tie may fall to either side
            assert agreed >= 0.8
            continue
        allowed = 4 * np.abs(torchs - exact).max() + 1e-6 * np.abs(exact).max() + 1e-12
        assert np.abs(mine - exact).max() <= allowed
