"""`grandopt benchmark` as a user meets it: every engine and every rival of a small agent in one run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from grandopt.cli.app import main
from grandopt.reporting.report import Report
from grandopt.reporting.schema import shipped_schema
from tests.workflows import command


def benchmark(folder: Path, *args: str) -> Report:
    done = command.run(folder, "benchmark", "-q", "--json", *args)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    jsonschema.validate(data, shipped_schema())
    assert not (folder / "artifacts").exists()
    return Report.model_validate_json(done.stdout, strict=True)


@pytest.mark.slow
def test_the_null_agent_shows_what_a_call_costs(tmp_path: Path) -> None:
    args = ("--agent", "null", "--run-into", "--batch", "1", "--precision", "float32")
    report = benchmark(tmp_path, *args, "--engine", "eager", "--engine", "native", "--engine", "executorch")
    (agent,) = report.agents
    rows = {row.label: row for row in agent.candidates}
    assert rows["eager/float32"].figures is not None
    assert rows["executorch/float32"].status == "unavailable"
    assert "pip install" in (rows["executorch/float32"].reason or "")
    assert "--rival executorch=" in (rows["executorch/float32"].reason or "")
    assert "torch.compile/float32" not in rows
    assert rows["native/float32"].behind is not None
    assert agent.original_behind is not None
    assert agent.leads[0].engine == "native"


@pytest.mark.slow
def test_every_engine_and_rival_is_verified_and_measured_in_full(tmp_path: Path) -> None:
    words = ("--agent", "lvn_embedder", "--precision", "float32", "--batch", "8")
    engines = ("--engine", "native", "--engine", "onnxruntime", "--engine", "torch.compile")
    report = benchmark(tmp_path, *words, *engines)
    (agent,) = report.agents
    rows = {row.label: row for row in agent.candidates}
    for label in (
        "native/float32",
        "onnxruntime/float32",
        "onnxruntime/float32/run",
        "torch.compile/float32",
        "torch.compile/float32/freezing",
        "torch.compile/float32/templates",
    ):
        row = rows[label]
        assert row.status in ("chosen", "slower"), row.reason
        assert row.verification is not None
        assert row.verification["passed"] is True
        assert row.figures is not None
        assert row.figures.p99_us is not None
        assert [item.batch for item in row.batches] == [8]
    assert not [row for row in agent.candidates if row.status == "pruned"]
    assert {(lead.precision, lead.batch) for lead in agent.leads} >= {("float32", 1), ("float32", 8)}


@pytest.mark.slow
@pytest.mark.skipif(
    "executorch" not in os.environ.get("GRANDOPT_RIVAL", ""), reason="GRANDOPT_RIVAL names no ExecuTorch"
)
def test_executorch_is_verified_and_measured_in_its_own_environment(tmp_path: Path) -> None:
    args = ("--agent", "decision_gate", "--batch", "8", "--engine", "onnxruntime", "--engine", "executorch")
    (agent,) = benchmark(tmp_path, *args, "--precision", "float32").agents
    row = next(row for row in agent.candidates if row.label == "executorch/float32")
    assert row.status == "slower", row.reason
    assert row.verification is not None
    assert row.verification["passed"] is True
    assert row.options["batch"] == "dynamic"
    assert row.options["executorch"]
    assert [item.batch for item in row.batches] == [8]


def refused(capfd: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line on stderr of a command that is refused, run in this process and in the present folder."""
    assert main(list(args)) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    (line,) = printed.err.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "library"), [("executorch", "executorch"), ("litert", "ai-edge-litert"), ("mnn", "MNN")]
)
def test_an_interpreter_without_the_engine_is_refused_before_any_work(
    name: str,
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho '{"python": "3.12.1", "numpy": "2.0", "torch": "2.13.0"}'\n""")
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    line = refused(capfd, "benchmark", "--agent", "null", "--rival", f"{name}={python}")
    assert f"--rival {name}={python}: {library} is not installed there" in line


def test_an_interpreter_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nowhere"
    monkeypatch.chdir(tmp_path)
    line = refused(capfd, "benchmark", "--agent", "null", "--rival", f"mnn={missing}")
    assert f"--rival mnn={missing}: {missing} cannot be started: No such file" in line


def test_optimize_does_not_know_the_yardsticks(tmp_path: Path) -> None:
    done = command.run(tmp_path, "optimize", "--agent", "nature_cnn")
    assert done.returncode == 2
    assert "unknown agent 'nature_cnn'" in done.stderr
