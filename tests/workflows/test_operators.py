"""Where the time goes: the original, the winner, and what the engine itself takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandopt.compiler.build import Candidate
from grandopt.config.schema import (
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.operators import full_precision, operator_reports
from tests.workflows import command
from tests.workflows.conftest import MakeRun, opened

REDUCED = Candidate("int8_dynamic", TorchScriptOptions(optimize_for_inference=False))


def test_a_reduced_precision_that_a_null_agent_cannot_have_is_said(make_run: MakeRun) -> None:
    with make_run([]) as run:
        agent = opened()
        contest = Contest(run, agent, captured(agent.checkpoint, run.store))
        plain = contest.entry("torchscript/float32")
        before, after = operator_reports(run, contest, plain)
        contest.candidates[REDUCED.label] = REDUCED
        _, reduced = operator_reports(run, contest, contest.entry(REDUCED.label))
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
    assert full_precision(NativeOptions(tile=16, weights="bfloat16")) == NativeOptions(tile=16)
    assert full_precision(OpenVinoOptions(inference_precision="bf16", snippets=False)) == OpenVinoOptions(
        snippets=False
    )
    assert full_precision(OnnxRuntimeOptions(quantization="static", spinning=True)) == OnnxRuntimeOptions(
        spinning=True
    )
    assert full_precision(InductorOptions(gemm="library")) == InductorOptions(gemm="library")


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
