"""The work of a call, and the limit that follows from what of it has to be done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.build import Candidate, build, capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.workload import Workload, work
from tests.native.convolutions import Causal
from tests.native.networks import Apply
from tests.workflows.fakes import MACHINE, WORK, built

CHANNELS, STEPS = 6, 32
LEVEL = next(level for level in levels_for(architecture()) if cpu_features().issuperset(level.features))


def _causal() -> Program:
    layers = [Causal(CHANNELS, CHANNELS, 3, apart, crop=False) for apart in (1, 2, 4)]
    network = nn.Sequential(*layers, Apply(lambda x: x[:, :, -1])).eval()
    return capture(from_module("causal", network, (torch.zeros(2, CHANNELS, STEPS),)), 0)


def _native(program: Program, folder: Path) -> BuiltCandidate:
    candidate = Candidate("float32", NativeOptions(levels=(LEVEL.name,)))
    return replace(built(candidate), artifact=build(program, candidate, Store(folder)))


@pytest.mark.slow
def test_positions_that_nobody_reads_are_no_part_of_the_limit(tmp_path: Path) -> None:
    """Of three causal layers whose last step is read, 7, 3 and 1 of 32 positions are computed."""
    program = _causal()
    unbuilt = built(Candidate("float32", NativeOptions()))
    found = work(program).left_by([unbuilt, _native(program, tmp_path)])
    position = 2 * 3 * CHANNELS * CHANNELS
    assert found.flop == 3 * STEPS * position
    assert found.least_flop == (7 + 3 + 1) * position
    harder = replace(found, read_weights=0, read_bytes=0)
    assert harder.limit(MACHINE, "float32").us == pytest.approx(found.least_flop / 50e3)


def test_weights_of_units_that_may_be_zero_are_not_read_in_every_call(tmp_path: Path) -> None:
    layers = nn.Linear(40, 96), nn.ReLU(), nn.Linear(96, 90), nn.Tanh(), nn.Linear(90, 3)
    program = capture(from_module("gate", nn.Sequential(*layers).eval(), (torch.zeros(2, 40),)), 0)
    found = work(program).left_by([_native(program, tmp_path)])
    assert found.spared_weights == 96 * 90
    without = replace(found, spared_weights=0)
    assert found.limit(MACHINE, "float32").us < without.limit(MACHINE, "float32").us


def test_a_build_that_does_more_than_the_original_raises_no_limit() -> None:
    assert replace(WORK, least_flop=10 * (WORK.flop or 0)).limit(MACHINE, "float32") == WORK.limit(
        MACHINE, "float32"
    )
    uncounted = Workload(0, 0, None, 0, 0, least_flop=1000)
    assert uncounted.limit(MACHINE, "float32").us == 0
