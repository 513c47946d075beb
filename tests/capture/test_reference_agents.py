"""Every reference agent is exported with a dynamic batch and traced, and both compute what it computes."""

from __future__ import annotations

import pytest
import torch

from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.inputs import draw
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.checkpoints import reference
from grandopt.compiler.networks.reference import REFERENCE
from grandopt.compiler.program import evaluate

LARGE = "tactical_embedder"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name == LARGE else []) for name in sorted(REFERENCE)],
)
def test_a_reference_agent_is_captured_both_ways(name: str) -> None:
    agent = REFERENCE[name]
    program = trace(capture(reference.load(name, name, seed=0)))
    assert program.refusals == ()
    assert program.exported is not None
    assert program.traced is not None
    assert tuple(spec.name for spec in program.signature.outputs) == agent.output_names
    assert tuple(spec.role for spec in program.signature.outputs) == agent.output_roles
    assert all(value.shape[0] == 2 for value in program.example)
    for batch in (1, 2, 5, 16):
        inputs = draw(agent.inputs, batch, seed=batch)
        expected = evaluate(program.module, inputs)
        for form in (program.exported.module(), program.traced):
            for want, got in zip(expected, evaluate(form, inputs), strict=True):
                torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
