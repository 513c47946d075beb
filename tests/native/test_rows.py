"""Rows that are computed side by side: where a row stands, and beside which others, makes no difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.runtime.loader import load
from tests.native.conftest import REDUCED

ROWS, INPUTS = 7, 150
"""Some rows together and some that are left over; blocks of vectors, vectors, and a part of one."""


@pytest.mark.parametrize(
    ("level", "between"),
    [
        pytest.param(level, between, marks=() if place == number else pytest.mark.slow)
        for place, level in enumerate(REDUCED)
        for number, between in enumerate((nn.Identity, nn.ReLU))
    ],
)
def test_norms_and_codes_of_a_row_are_its_own(tmp_path: Path, level: str, between: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.LayerNorm(INPUTS), between(), nn.Linear(INPUTS, 33)).eval()
    program = capture(from_module("rows", network, (torch.zeros(2, ROWS, INPUTS),)), 0)
    options = NativeOptions(weights="int8", levels=(level,), tile=1)
    executor = load(build(program, Candidate("int8_dynamic", options), Store(tmp_path)).path)
    random = np.random.default_rng(0)
    x = random.standard_normal((3, ROWS, INPUTS)).astype(np.float32)
    x[1] *= 10.0 ** random.integers(-12, 12, (ROWS, 1))
    x[2, 3, 5] = np.nan
    y = executor(x)
    assert np.isnan(y[2, 3]).all()
    assert not np.isnan(np.delete(y.reshape(-1, 33), 2 * ROWS + 3, 0)).any()
    for shift in range(1, ROWS):
        np.testing.assert_array_equal(executor(np.roll(x, shift, 1)), np.roll(y, shift, 1))
