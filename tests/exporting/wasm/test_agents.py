"""The eight reference agents as WebAssembly: right in Node, with and without vectors."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import reference as agents
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.workflows.exporting.wasm import MODULES
from tests.exporting.wasm.conftest import Opened
from tests.small_agents import draw, expected

ROWS = 3
SOME = ("decision_gate", "strategic_system", "shared_policy")
OTHERS = tuple(name for name in REFERENCE_AGENTS if name not in SOME)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.stress) for name in OTHERS)])
def test_a_reference_agent_answers_right(name: str, opened: Opened) -> None:
    """By the error's share in the float32 rule: 4 times the original's own, and 1e-6 of the scale."""
    of = capture(agents.load(name, name, 0), 0)
    inputs = draw(of, ROWS)
    truth = reference(of).outputs(inputs)
    answers = [opened(of, module).run(inputs) for module in MODULES]
    for result, scalar, exact, own in zip(*answers, truth, expected(of, inputs), strict=True):
        limit = 4 * np.abs(own - exact).max() + 1e-6 * np.abs(exact).max()
        assert np.abs(result - exact).max() <= limit
        np.testing.assert_array_equal(result, scalar)
