"""Random networks against float64, at every feature level that this machine has, over several batches."""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native import levels
from grandopt.config.engines import NativeOptions
from grandopt.signature import Array
from tests.native.conftest import LEVELS, Make
from tests.native.networks import draw

FUSED = ("-mfma",) if architecture() == "x86_64" else ()  # NEON has fused multiply-adds, plain SSE has not
GENERIC = levels.IsaLevel("generic", architecture(), 4, 32, (), FUSED)
FIRST = 3
QUICK, ALL = 24, 320
BATCHES = (7, 8, 9, 15, 16, 17, 33, 3)
"""Around the sizes of tiles."""


def _seeds() -> list[object]:
    return [
        pytest.param(
            seed, marks=[] if seed < FIRST else pytest.mark.slow if seed < QUICK else pytest.mark.stress
        )
        for seed in range(ALL)
    ]


@pytest.mark.parametrize("seed", _seeds())
def test_a_random_network_is_as_exact_as_torch(native: Make, seed: int) -> None:
    network, shape = draw(seed)
    options = NativeOptions(levels=(LEVELS[seed % len(LEVELS)],), tile=(1, 4, 8)[seed % 3])
    executor = native(network, torch.zeros(2, *shape), name=f"random{seed}", options=options)
    random = np.random.default_rng(seed)
    sizes = (1, *BATCHES[seed % 4 :: 4])
    batches = [random.standard_normal((batch, *shape)).astype(np.float32) for batch in sizes]
    # The same numbers in another layout.
    got = [executor(np.repeat(inputs, 2, axis=-1)[..., ::2]) for inputs in batches]
    compare(got, network, batches)


@pytest.mark.parametrize(
    "seed",
    [
        *(0, 3),
        *(pytest.param(s, marks=pytest.mark.slow) for s in (5, 11, 14)),
        *(pytest.param(s, marks=pytest.mark.stress) for s in range(60)),
    ],
)
def test_the_compilers_own_vectors_are_as_exact(
    native: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The text that other architectures get, with four lanes, compiled for this one."""
    monkeypatch.setattr(levels, "LEVELS", (*levels.LEVELS, GENERIC))
    network, shape = draw(seed)
    options = NativeOptions(levels=("generic",), tile=4)
    executor = native(network, torch.zeros(2, *shape), name=f"generic{seed}", options=options)
    inputs = np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32)
    compare([executor(inputs)], network, [inputs])


Outputs: TypeAlias = "tuple[Array, ...]"


def compare(got: list[Array | Outputs], network: nn.Module, batches: list[Array]) -> None:
    """All batches together: the error of a single number is luck, for torch as for us."""
    exact = copy.deepcopy(network).double()
    inputs = [torch.from_numpy(batch) for batch in batches]
    with torch.no_grad():
        wanted = _joined([exact(batch.double()) for batch in inputs])
        close = _joined([network(batch) for batch in inputs])
    allowed = 0.0
    for position, (mine, truth, torchs) in enumerate(zip(_joined(got), wanted, close, strict=True)):
        assert mine.shape == truth.shape
        assert mine.dtype == torchs.dtype
        if mine.dtype == np.int64:
            # The arg max of the output before it; what is picked is as good, as far as rounding can tell.
            scores = wanted[position - 1]
            picked = np.take_along_axis(scores, mine[:, np.newaxis], -1)[:, 0]
            assert (scores.max(-1) - picked <= 2 * allowed).all()
            continue
        allowed = 4 * np.abs(torchs - truth).max() + 1e-6 * np.abs(truth).max() + 1e-12
        assert np.abs(mine - truth).max() <= allowed


def _joined(results: list[Any]) -> Outputs:
    """The outputs of several batches, one after another."""
    tuples = [result if isinstance(result, tuple) else (result,) for result in results]
    return tuple(np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*tuples, strict=True))
