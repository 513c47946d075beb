"""An agent goes out as ONNX and is optimized from there: it is the same agent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import grandopt
from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.inputs import draw
from grandopt.compiler.checkpoints import detect, reference
from grandopt.compiler.program import evaluate
from grandopt.config.schema import AgentConfig
from grandopt.workflows.exporting.onnx.write import export_onnx
from tests.conftest import SHARED
from tests.exporting.shipping import shipped

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason=f"skipped: {package} is not installed")

ONE = "a2c-Pendulum-v1"
"""Statistics, clipping and bounds are inside of it; each takes an optimization of its own."""
OTHERS = (
    "decision_gate",
    "strategic_system",
    "tactical_system",
    "shared_policy",
    "structure_embedder",
    "tactical_embedder",
    "regime_embedder",
    "lvn_embedder",
    *sorted(path.stem for path in (SHARED / "checkpoints" / "sb3").glob("*.zip") if path.stem != ONE),
)
ROWS = 64
SHARE = 1e-5
"""How far an answer may be off, as a share of the output's largest number."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [ONE, *(pytest.param(name, marks=pytest.mark.stress) for name in OTHERS)])
def test_what_went_out_comes_in_as_the_same_agent(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "-" in name:
        zips = request.getfixturevalue("shared_checkpoints") / "sb3"
        checkpoint = detect.load(name, AgentConfig(checkpoint=zips / f"{name}.zip"))
    else:
        checkpoint = reference.load(name, name, 0)
    of = capture(checkpoint)
    written = export_onnx(shipped(tmp_path, of).path, tmp_path / "agent.onnx")
    made = grandopt.optimize(
        written.file, name=name, profile="basic", engines=["native"], precisions=["float32"], budget_s=5.0,
        output=tmp_path / "job",
    )  # fmt: skip
    assert made.agent.status in {"optimized", "original kept"}
    assert made.signature.inputs == of.signature.inputs
    inputs = draw(of.signature.inputs, ROWS, seed=5)
    found = made(*(value.numpy() for value in inputs))
    outputs = found if isinstance(found, tuple) else (found,)
    for given, wanted in zip(outputs, evaluate(of.module, inputs), strict=True):
        if not wanted.dtype.is_floating_point:
            np.testing.assert_array_equal(given, wanted.numpy())
        else:
            scale = float(wanted.abs().max())
            np.testing.assert_allclose(given, wanted.numpy(), rtol=0, atol=SHARE * scale)
