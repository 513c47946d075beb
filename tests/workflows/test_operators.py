"""Where the time goes: the original, the winner, and what the engine itself takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandopt.compiler.build import Candidate
from grandopt.config.engines import (
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.workflows.benchmark.operators import operator_reports
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.selection.candidate_set import CandidateSet
from tests.workflows import command
from tests.workflows.conftest import MakeRun, opened

REDUCED = Candidate("int8_dynamic", TorchScriptOptions(optimize_for_inference=False))


@pytest.mark.slow
def test_a_reduced_precision_that_a_null_agent_cannot_have_is_said(make_run: MakeRun) -> None:
    with make_run([]) as run:
        agent = opened()
        candidate_set = CandidateSet(run, agent, capture_or_load(agent.checkpoint, run.store))
        plain = candidate_set.build_one("torchscript/float32")
        before, after = operator_reports(run, candidate_set, plain)
        candidate_set.candidates[REDUCED.label] = REDUCED
        _, reduced = operator_reports(run, candidate_set, candidate_set.build_one(REDUCED.label))
    assert before.label == "original"
    assert before.layers
    for report in (before, after):
        assert report.operators
        assert report.engine_reason is None
        assert report.engine_us is not None
        assert report.engine_share is not None
        assert 0 < report.engine_share < 1.5
    assert reduced.engine_us is not None
    assert str(reduced.engine_reason).startswith(
        "the engine's own time is that of float32, because in int8_dynamic "
    )


def test_the_stand_in_keeps_all_options_but_the_precision() -> None:
    assert NativeOptions(tile=16, weights="bfloat16").in_float32() == NativeOptions(tile=16)
    assert OpenVinoOptions(inference_precision="bf16", snippets=False).in_float32() == OpenVinoOptions(
        snippets=False
    )
    assert OnnxRuntimeOptions(quantization="static", spinning=True).in_float32() == OnnxRuntimeOptions(
        spinning=True
    )
    assert OpenVinoOptions(quantization="static").in_float32() == OpenVinoOptions()
    assert InductorOptions(gemm="library").in_float32() == InductorOptions(gemm="library")


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    words = ("--agent", "lvn_embedder", "--engine", "torchscript", "--precision", "float32")
    result = command.run(tmp_path, "benchmark", "--operators", *words, "--json")
    assert result.returncode == 0, result.stderr
    reports = json.loads(result.stdout)["agents"][0]["operators"]
    assert [report["engine"] for report in reports] == ["eager", "torchscript"]
    for report in reports:
        assert report["call_us"] > 0
        assert sum(row["share"] for row in report["operators"]) == pytest.approx(1.0)
        assert report["engine_us"] < report["call_us"] * 1.5
    shown = command.run(tmp_path, "benchmark", "--operators", *words)
    assert "for the engine itself" in shown.stdout
