"""The levels against each other, those of another architecture in an emulator.

What is promised: a product over int8 weights has the same bits at every level, and so has a whole int8 agent
at levels whose vectors are equally long. Of bfloat16 and float32 it is not: their sums are in another order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, of_architecture
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.render.entry import NO_LEVEL
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.signature import Array
from tests.native.convolutions import draw_chains
from tests.native.networks import draw
from tests.native.operations import DTYPES, Operations
from tests.native.programs import Program, emulator, program, runner, runs_here
from tests.native.test_dtypes import compare as compare_outputs
from tests.native.test_dtypes import covered, drawn_inputs
from tests.native.test_property import GENERIC, compare
from tests.native.test_quantized import Mixed

OTHERS = [level for level in LEVELS if level.architecture != architecture()]
named = {"ids": lambda level: level.name}


def graph_of(network: nn.Module, *shapes: Sequence[int]) -> Graph:
    examples = tuple(torch.zeros(2, *shape) for shape in shapes)
    exported = capture(from_module("agent", network.eval(), examples), 0).exported
    assert exported is not None
    return simplify(translate("agent", exported))


@functools.cache
def drawn(seed: int) -> tuple[nn.Module, tuple[int, ...], Graph]:
    """A random network, its shape and its graph, captured once for all levels."""
    network, shape = draw(seed)
    return network, shape, graph_of(network, shape)


@functools.cache
def drawn_chain(seed: int) -> tuple[nn.Module, tuple[int, ...], Graph]:
    """The same of a chain of convolutions."""
    network, shape = draw_chains(seed)
    return network, shape, graph_of(network, shape)


class Layers(nn.Module):
    """Products over rows [rows, 70], all of them large enough for int8 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(70, 66), nn.Linear(66, 65)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


def rows_of_all_sizes(batch: int, rows: int, width: int) -> Array:
    """Ordinary rows, tiny ones, huge ones, zeros, and numbers in the middle between two codes."""
    random = np.random.default_rng(5)
    x = random.standard_normal((batch, rows, width)).astype(np.float32)
    x *= 10.0 ** random.integers(-30, 30, (batch, rows, 1)).astype(np.float32)
    x[0, 0] = 0
    x[1] = random.integers(-254, 255, (rows, width)) / 2
    x[1, :, 0] = 127
    for row in x[2]:
        row[0] = top = random.uniform(1, 2)
        row[1:] = rounded_to_the_middle(row[0], random.integers(0, 126, width - 1))
        assert top >= row[1:].max()
    return x


def rounded_to_the_middle(top: np.float32, codes: Array) -> Array:
    """Numbers whose quotient lies in the middle between `codes` and the next once it is rounded, and where
    there is such a number not before: who rounds but once gets another code."""
    inverse = np.float32(127) / top
    middle = codes.astype(np.float32) + np.float32(0.5)
    found = middle / inverse
    near = found
    for _ in range(8):
        near = np.nextafter(near, np.float32(0))
        other = (near * inverse == middle) & (near.astype(np.float64) * inverse != middle)
        found = np.where(other, near, found)
    return found


@pytest.fixture(scope="module")
def int8_products(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Array, bytes]:
    """Two products, their inputs, and what the text for no CPU in particular makes of them."""
    torch.manual_seed(7)
    network = Layers()
    graph = quantize(graph_of(network, (19, 70)))
    x = rows_of_all_sizes(11, 19, 70)
    (wanted,) = program(graph, [GENERIC], tmp_path_factory.mktemp("generic"), tile=4)(x)
    with torch.no_grad():
        exact = network.double()(torch.from_numpy(x).double()).numpy()
    error, size = (np.linalg.norm(array, axis=-1) for array in (wanted - exact, exact))
    assert (error < 0.02 * size).all()
    return graph, x, wanted.tobytes()


@pytest.mark.parametrize(
    "level",
    [pytest.param(level, marks=pytest.mark.slow if n % 2 else ()) for n, level in enumerate(LEVELS)],
    **named,
)
@pytest.mark.parametrize("tile", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_int8_products_have_the_same_bits_at_every_level(
    tmp_path: Path, int8_products: tuple[Graph, Array, bytes], level: IsaLevel, tile: int
) -> None:
    graph, x, wanted = int8_products
    (got,) = program(graph, [level], tmp_path, tile=tile)(x)
    assert got.tobytes() == wanted


FAMILIES = [
    tuple(level for level in LEVELS if (level.architecture, level.lanes) == family)
    for family in dict.fromkeys((level.architecture, level.lanes) for level in LEVELS)
]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[-1].name)
def test_int8_agents_have_the_same_bits_at_levels_of_equal_vectors(
    tmp_path: Path, family: tuple[IsaLevel, ...]
) -> None:
    able = [level for level in family if runs_here(level)]
    if len(able) < 2:
        pytest.skip(f"of {', '.join(level.name for level in family)} at most one can be run")
    torch.manual_seed(3)
    graph = quantize(graph_of(Mixed(), (18, 40)))
    x = np.random.default_rng(3).standard_normal((9, 18, 40)).astype(np.float32)
    results = {program(graph, [level], tmp_path / level.name, tile=1)(x)[0].tobytes() for level in able}
    assert len(results) == 1


@pytest.mark.parametrize("level", OTHERS, **named)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (3, 1, 2, 4, 5, 7, 11, 14, 17))]
)
def test_a_random_network_is_as_exact_on_the_other_architecture(
    tmp_path: Path, seed: int, level: IsaLevel
) -> None:
    """As exact as torch is here; whatever a level adds for other weights, it computes float32, too."""
    runner(level)
    network, shape, graph = drawn(seed)
    run = program(graph, [level], tmp_path, tile=4)
    x = np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32)
    compare([run(x)], network, [x])


def _chains() -> list[Any]:
    slow, stress = pytest.mark.slow, pytest.mark.stress
    return [0, *(pytest.param(seed, marks=slow if seed < 3 else stress) for seed in range(1, 12))]


@pytest.mark.parametrize(
    "level", [*(pytest.param(level, marks=pytest.mark.slow) for level in OTHERS[1:]), *OTHERS[:1]], **named
)
@pytest.mark.parametrize("seed", _chains())
def test_chains_of_convolutions_are_as_exact_on_the_other_architecture(
    tmp_path: Path, seed: int, level: IsaLevel
) -> None:
    runner(level)
    network, shape, graph = drawn_chain(seed)
    run = program(graph, [level], tmp_path, tile=4)
    x = np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32)
    compare([run(x)], network, [x])


CPUS = [
    ("aarch64", "cortex-a53", "armv8-a"),
    ("aarch64", "cortex-a76", "armv8.2-a-dotprod"),
    ("aarch64", "max", "armv8.2-a-bf16"),
    ("x86_64", "Haswell", "x86-64-v3"),
    ("x86_64", "qemu64,-avx2", "none"),
    # The CPU has AVX2, but the system does not save the registers: XGETBV tells.
    ("x86_64", "max,-xsave", "none"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, tuple[str, ...]], Program]:
    """`library(machine, command)`: a layer with all levels of a machine, as a program that `command` runs."""
    torch.manual_seed(1)
    graph = graph_of(nn.Linear(3, 2), (3,))

    @functools.cache
    def built(machine: str) -> Program:
        folder = tmp_path_factory.mktemp(machine)
        return program(graph, of_architecture(machine), folder, tile=1, command=())

    return lambda machine, command: replace(built(machine), command=(*command, *built(machine).command))


@pytest.mark.parametrize(("machine", "cpu", "level"), CPUS)
def test_a_library_of_all_levels_takes_the_best_that_the_cpu_has(
    library: Callable[[str, tuple[str, ...]], Program], machine: str, cpu: str, level: str
) -> None:
    run = library(machine, emulator(machine, cpu))
    assert run.level() == level
    x = np.eye(3, dtype=np.float32)
    if level == "none":
        assert run.ran("3", x.tobytes()).returncode == NO_LEVEL
    else:
        torch.manual_seed(1)
        wanted = nn.Linear(3, 2)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(run(x)[0], wanted, atol=1e-6)


def test_a_library_of_all_levels_takes_what_the_loader_takes(
    library: Callable[[str, tuple[str, ...]], Program],
) -> None:
    levels = of_architecture(architecture())
    best = next(level for level in levels if cpu_features().issuperset(level.features))
    assert library(architecture(), ()).level() == best.name


@pytest.mark.slow
@pytest.mark.parametrize("level", OTHERS[-1:], **named)
@pytest.mark.parametrize("seed", range(6))
def test_operations_on_any_dtype_are_torchs_on_the_other_architecture(
    tmp_path: Path, seed: int, level: IsaLevel
) -> None:
    runner(level)
    random = np.random.default_rng(seed)
    dtype = list(DTYPES)[seed % len(DTYPES)]
    chosen = [DTYPES[dtype][i] for i in random.choice(len(DTYPES[dtype]), 8, replace=False)]
    examples = (torch.zeros(2, 3, 9, dtype=dtype), torch.ones(2, 3, 9, dtype=dtype))
    able = covered(chosen, examples)
    assert able
    module = Operations(able).eval()
    exported = capture(from_module("operations", module, examples), 0).exported
    assert exported is not None
    run = program(simplify(translate("operations", exported)), [level], tmp_path, tile=4)
    for batch in (1, 9):
        inputs = [drawn_inputs(random, dtype, (batch, 3, 9), special=batch > 8) for _ in range(2)]
        compare_outputs(run(*(tensor.numpy() for tensor in inputs)), module, inputs)
