"""Products that skip the zeros of their row: which do, and that they answer as if they did not."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.build import render
from grandopt.compiler.backends.native.form import Graph, Linear
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel
from grandopt.compiler.backends.native.passes.pipeline import simplify
from grandopt.compiler.backends.native.passes.quantize import quantize
from grandopt.compiler.backends.native.passes.rectified import rectified
from grandopt.compiler.backends.native.render.weights import byte_rows, side_by_side
from grandopt.compiler.backends.native.translate import translate
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.conftest import REDUCED

CODES = {level.name: level for level in LEVELS}["x86-64-v4-vnni"]
WITH_CODES = [name for name in REDUCED if name.startswith("x86-64-v4-")]
HIDDEN, OUTPUTS = 104, 120


@functools.cache
def captured(outputs: int) -> Program:
    """The network with a ReLU, captured once for all levels and weights."""
    module = network(nn.ReLU(), outputs)
    return capture(from_module("sparse", module, (torch.zeros(2, 20),)), 0)


def network(between: nn.Module, outputs: int = OUTPUTS) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(20, HIDDEN), between, nn.Linear(HIDDEN, outputs), nn.ReLU()).eval()


def graph_of(module: nn.Module, *shape: int) -> Graph:
    program = capture(from_module("sparse", module, (torch.zeros(2, *shape),)), 0)
    assert program.exported is not None
    return simplify(translate("sparse", program.exported))


def built(folder: Path, outputs: int, weights: str, level: str) -> Executor:
    options = NativeOptions.model_validate({"levels": (level,), "weights": weights})
    precision = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8_dynamic"}[weights]
    return load(build(captured(outputs), Candidate(precision, options), Store(folder)).path)


def observations() -> Array:
    """With about half of the hidden units at zero, and such that turn all of them on, or off, or into NaN."""
    given = np.random.default_rng(1).standard_normal((12, 20)).astype(np.float32)
    given[8] = 0
    given[9] *= 1e4
    given[10, 3] = np.nan
    given[11, 3] = np.inf
    return given


@pytest.mark.parametrize(
    ("between", "reading"),
    [
        (nn.ReLU(), True),
        (nn.Sequential(nn.Unflatten(1, (8, 13)), nn.ReLU(), nn.Flatten()), True),
        (nn.Tanh(), False),
        (nn.LeakyReLU(), False),
        (nn.Sequential(nn.ReLU(), nn.Softplus()), False),
    ],
)
def test_what_reads_a_relu_is_found(between: nn.Module, reading: bool) -> None:
    graph = graph_of(network(between), 20)
    _, last = (op for op in graph.ops if isinstance(op, Linear))
    assert rectified(graph) == (frozenset({last}) if reading else frozenset())


@pytest.mark.parametrize("number", [0.5, np.inf, np.nan])
def test_a_zero_is_not_skipped_where_a_weight_is_not_finite(number: float) -> None:
    module = network(nn.ReLU())
    with torch.no_grad():
        module[2].weight[5, 7] = number  # type: ignore[union-attr,operator,index]
    (text,) = texts(graph_of(module, 20), LEVELS[3])
    assert ("nonzero_numbers(" in text) == bool(np.isfinite(number))


@pytest.mark.parametrize(
    ("level", "outputs", "skips"), [(CODES, OUTPUTS, True), (CODES, 80, False), (LEVELS[3], OUTPUTS, False)]
)
def test_codes_are_skipped_where_vectors_keep_up(level: IsaLevel, outputs: int, skips: bool) -> None:
    graph = quantize(graph_of(network(nn.ReLU(), outputs), 20))
    (text,) = texts(graph, level)
    assert ("nonzero_codes(" in text) == skips


def texts(graph: Graph, level: IsaLevel) -> list[str]:
    return list(render(graph, [level], 1).texts.values())


@pytest.mark.parametrize(
    ("weights", "outputs"),
    [
        ("float32", OUTPUTS),
        ("bfloat16", 88),
        pytest.param("float32", 88, marks=pytest.mark.slow),
        pytest.param("bfloat16", OUTPUTS, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("level", REDUCED)
def test_skipping_zeros_changes_no_answer(tmp_path: Path, level: str, weights: str, outputs: int) -> None:
    module = network(nn.ReLU(), outputs)
    executor, given = built(tmp_path, outputs, weights, level), observations()
    single = np.concatenate([executor.run([row[np.newaxis]])[0] for row in given])
    with torch.no_grad():
        wanted = module(torch.from_numpy(given)).numpy()
    np.testing.assert_array_equal(np.isnan(single), np.isnan(wanted))
    scale = np.abs(wanted).max(axis=1, keepdims=True) + 1e-6
    error = np.abs(single - wanted) / scale
    assert np.nanmax(error) < (1e-5 if weights == "float32" else 2e-2)


@pytest.mark.skipif(not WITH_CODES, reason="no feature level of this CPU has dot products of 512 bits")
def test_sums_of_codes_are_those_of_all_levels(tmp_path: Path) -> None:
    given = observations()
    found = []
    for level in WITH_CODES:
        executor = built(tmp_path, OUTPUTS, "int8", level)
        found += [executor.run([given])[0]]
        found += [np.concatenate([executor.run([row[np.newaxis]])[0] for row in given])]
    plain = built(tmp_path, OUTPUTS, "int8", "x86-64-v4")
    alone = np.concatenate([plain.run([row[np.newaxis]])[0] for row in given])
    for one in found[1::2]:
        np.testing.assert_array_equal(one, alone)
    for whole in found[::2]:
        np.testing.assert_array_equal(whole, found[0])
    assert np.isnan(alone[10:]).all()
    assert np.isfinite(alone[:10]).all()


def test_rows_of_bytes_and_of_halves_hold_every_weight() -> None:
    weight = np.arange(72 * 5, dtype=np.int8).reshape(72, 5)
    rows = byte_rows(weight).reshape(2, 5, 64)
    for column in range(72):
        panel, inside = divmod(column, 64)
        vector, four, lane = inside // 16, inside // 4 % 4, inside % 4
        np.testing.assert_array_equal(rows[panel, :, 16 * four + 4 * vector + lane], weight[column])
    halves = side_by_side(np.arange(40 * 3, dtype=np.float32).reshape(40, 3)).reshape(3, 32)
    even, odd = (halves << 16).view(np.float32), (halves & 0xFFFF0000).view(np.float32)
    numbers = np.arange(40 * 3).reshape(40, 3)
    np.testing.assert_array_equal(even[:, :16].T, numbers[:16])
    np.testing.assert_array_equal(odd[:, :16].T, numbers[16:32])
    np.testing.assert_array_equal(even[:, 16:24].T, numbers[32:])
