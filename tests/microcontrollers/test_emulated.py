"""Headers on other processors than this one: their answers are those of the original by the float32 rule."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from grandopt.compiler.backends.native.plain.stages import plain
from grandopt.signature import Array
from grandopt.verification.tolerance import float32_limit
from tests.microcontrollers.agents import (
    Actor,
    Attending,
    Camera,
    Functions,
    Normalised,
    Remembering,
    Sequence,
    program,
)
from tests.microcontrollers.emulated import CORTEX_M0, CORTEX_M4F, bare_metal, on_linux
from tests.small_agents import draw, expected

AGENTS = (Actor, Remembering, Sequence, Camera, Attending, Functions, Normalised)


def hold(kind: type[nn.Module], answers: tuple[Array, ...], inputs: list[Array]) -> None:
    """Each output within what float32 may be off by, where the original's own error is a rounding."""
    for answer, truth in zip(answers, expected(program(kind), inputs), strict=True):
        assert answer.dtype == truth.dtype
        if truth.dtype.kind != "f":
            np.testing.assert_array_equal(answer, truth)
            continue
        scale = float(np.abs(truth).max())
        error = float(np.abs(answer.astype(np.float64) - truth).max())
        assert error <= float32_limit(2.0**-21 * scale, scale)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AGENTS)
def test_a_cortex_m4f_gives_the_originals_answers(kind: type[nn.Module], tmp_path: Path) -> None:
    agent, inputs = plain(program(kind), "float32"), draw(program(kind), 6)
    hold(kind, bare_metal(agent.source, program(kind), inputs, CORTEX_M4F, tmp_path), inputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AGENTS)
def test_64_bit_arm_gives_the_originals_answers(kind: type[nn.Module], tmp_path: Path) -> None:
    agent, inputs = plain(program(kind), "float32"), draw(program(kind), 6)
    with closing(on_linux(agent.source, program(kind), tmp_path)) as executor:
        hold(kind, executor.run(inputs), inputs)


@pytest.mark.parametrize("kind", [Actor, pytest.param(Remembering, marks=pytest.mark.slow)])
def test_whole_numbers_are_the_same_on_a_core_without_floats(kind: type[nn.Module], tmp_path: Path) -> None:
    """Codes and sums are whole, and what is left of floats is rounded alike: the answers differ by that."""
    agent = plain(program(kind), "int8", draw(program(kind), 64, seed=5))
    assert agent.coded_products > 0
    inputs = draw(program(kind), 6)
    small = bare_metal(agent.source, program(kind), inputs, CORTEX_M0, tmp_path / "m0")
    large = bare_metal(agent.source, program(kind), inputs, CORTEX_M4F, tmp_path / "m4")
    for one, other, truth in zip(small, large, expected(program(kind), inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert np.linalg.norm(one - truth) <= 0.02 * np.linalg.norm(truth)
