"""`grandopt compare` and `grandopt baseline` as a user and a CI job meet them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.store import Store
from grandopt.cli.app import main
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import reference
from grandopt.config.engines import NativeOptions
from grandopt.reporting.gate.result import GateReport
from grandopt.reporting.report import write_report
from tests.cli.conftest import Grandopt
from tests.compare.slowed import slowed
from tests.reporting.samples import optimized, report

HERE = {"cpu_model": "a CPU", "identity": "a" * 64}
Case = Callable[[Path], tuple[list[str], str]]
"""Makes files beside `artifacts/gate`; returns the operands and options, and what the error line must say."""


def nothing_there(folder: Path) -> tuple[list[str], str]:
    return ["nowhere.json", "artifacts"], "nowhere.json: no such file or folder, and no baseline of that name"


def half_written(folder: Path) -> tuple[list[str], str]:
    write_report(report(environment=HERE), folder / "whole.json")
    text = (folder / "whole.json").read_text()
    (folder / "half.json").write_text(text[: len(text) // 2])
    return ["half.json", "whole.json"], "half.json: not a complete report"


def two_machines(folder: Path) -> tuple[list[str], str]:
    write_report(report(environment=HERE), folder / "old.json")
    write_report(report(environment=HERE | {"identity": "b" * 64}), folder / "new.json")
    return ["old.json", "new.json"], "from different machines"


def only_in_one_report(folder: Path) -> tuple[list[str], str]:
    write_report(report(optimized("gate"), environment=HERE), folder / "old.json")
    write_report(report(optimized("gate"), optimized("more"), environment=HERE), folder / "new.json")
    return ["old.json", "new.json"], "more: not in the baseline (old.json)"


def only_in_one_folder(folder: Path) -> tuple[list[str], str]:
    shutil.copytree(folder / "artifacts" / "gate", folder / "new" / "gate")
    shutil.copytree(folder / "artifacts" / "gate", folder / "new" / "more")
    return ["new", "artifacts"], "more: not in the candidate (artifacts)"


def no_artifacts(folder: Path) -> tuple[list[str], str]:
    (folder / "empty").mkdir()
    return ["empty", "artifacts"], "empty: holds no artifacts"


def report_and_artifact(folder: Path) -> tuple[list[str], str]:
    write_report(report(environment=HERE), folder / "old.json")
    return ["old.json", "artifacts"], "artifacts: is no report, and the other side is one"


def another_agent(folder: Path) -> tuple[list[str], str]:
    gate = read(folder / "artifacts" / "gate")
    other = replace(gate.manifest, signature={"inputs": [{"name": "window", "shape": [5]}], "outputs": []})
    write(folder / "other", other, gate.payloads())
    return ["artifacts/gate", "other"], "gate: the two are different agents"


def damaged(folder: Path) -> tuple[list[str], str]:
    shutil.copytree(folder / "artifacts" / "gate", folder / "bad")
    payload = next(file for file in (folder / "bad").iterdir() if file.suffix == ".pt")
    payload.write_bytes(b"another")
    return ["artifacts/gate", "bad"], "damaged"


def other_threads(folder: Path) -> tuple[list[str], str]:
    gate = read(folder / "artifacts" / "gate")
    write(folder / "two", replace(gate.manifest, threads=2), gate.payloads())
    return ["artifacts/gate", "two"], "shipped for 1 and 2 threads; say with how many to compare them"


def missing_checkpoint_fields(folder: Path) -> tuple[list[str], str]:
    (folder / "agent.pth").write_bytes(b"not a checkpoint")
    return ["agent.pth", "artifacts/gate"], "agent.pth"


def unknown_figure(folder: Path) -> tuple[list[str], str]:
    return ["artifacts", "artifacts", "--limit", "p98=5%"], "unknown figure 'p98' (did you mean 'p99'?)"


def too_few_processes(folder: Path) -> tuple[list[str], str]:
    return ["artifacts", "artifacts", "--processes", "2"], "at least 4 processes to know its own noise, got 2"


def wrong_file(folder: Path) -> tuple[list[str], str]:
    (folder / "grandopt.yaml").write_text("compare:\n  max_regression: 5\n")
    return ["artifacts", "artifacts"], "grandopt.yaml:2: compare.max_regression: a limit above 1"


@pytest.mark.parametrize(
    "case",
    [
        nothing_there,
        half_written,
        two_machines,
        only_in_one_report,
        only_in_one_folder,
        no_artifacts,
        report_and_artifact,
        another_agent,
        damaged,
        other_threads,
        missing_checkpoint_fields,
        unknown_figure,
        too_few_processes,
        wrong_file,
    ],
    ids=lambda case: case.__name__,
)
def test_bad_input_is_one_line_and_exit_2(
    case: Case,
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, message = case(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words, "-q"]) == 2
    assert_one_line(capsys, message)


def assert_one_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_reports_write_everything_a_ci_job_reads(grandopt: Grandopt, tmp_path: Path) -> None:
    write_report(report(optimized("gate"), environment=HERE), tmp_path / "old.json")
    summary = tmp_path / "summary.md"
    result = grandopt(
        *(
            "compare",
            "old.json",
            "old.json",
            "--json",
            "--junit",
            "out/gate.xml",
            "--markdown",
            "out/gate.md",
        ),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert result.returncode == 0, result.stderr
    found = GateReport.model_validate_json(result.stdout)
    assert (found.outcome, found.mode) == ("pass", "reports")
    assert found.command[1:4] == ("compare", "old.json", "old.json")
    root = ElementTree.parse(tmp_path / "out" / "gate.xml").getroot()
    assert root.get("failures") == "0"
    assert (tmp_path / "out" / "gate.md").read_text() in summary.read_text()


def test_baselines_are_saved_listed_and_shown(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def said(*words: str, code: int = 0) -> str:
        assert main(words) == code
        return capsys.readouterr().out

    assert main(["baseline", "list"]) == 0
    assert capsys.readouterr().err.startswith("reports/baselines: no baselines")
    write_report(report(optimized("gate"), environment=HERE), tmp_path / "run.json")
    assert said("baseline", "save", "main", "--report", "run.json") == "reports/baselines/main\n"
    kept = tmp_path / "reports" / "baselines" / "main"
    (content,) = kept.glob("content-*")
    assert {item.name for item in kept.iterdir()} == {"baseline.json", content.name}
    assert sorted(item.name for item in content.iterdir()) == ["artifacts", "report.json"]
    assert read(content / "artifacts" / "gate").payloads() == read(artifact).payloads()
    (listed,) = json.loads(said("baseline", "list", "--json"))
    assert listed == json.loads(said("baseline", "show", "main", "--json"))
    assert listed["agents"][0]["digest"] == read(artifact).manifest.digest
    assert len(listed["environment"]["identity"]) == 64
    assert "torchscript" in said("baseline", "show", "main")
    # Its report stands for it where the other side is a report.
    assert "pass: 1 agent" in said("compare", "main", "run.json", "-q")
    assert main(["baseline", "save", "main"]) == 2
    assert_one_line(capsys, "--replace")
    said("baseline", "save", "main", "--replace")
    (content,) = kept.glob("content-*")
    assert {item.name for item in kept.iterdir()} == {"baseline.json", content.name}
    assert [item.name for item in content.iterdir()] == ["artifacts"]
    assert [item.name for item in kept.parent.iterdir()] == ["main"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["save", "../main"], "cannot be a baseline's name"),
        (["save", "main", "nowhere"], "nowhere: no such artifact or folder"),
        (["save", "main", "--agent", "fvg"], "has no agent 'fvg'; it has gate"),
        (["save", "main", "--report", "nowhere.json"], "nowhere.json: cannot be read as a report"),
        (["save", "taken"], "holds something else than a baseline"),
        (["show", "nowhere"], "nowhere: no such baseline"),
        (["show", "broken"], "save the baseline again"),
        (["list"], "save the baseline again"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_baselines_that_cannot_be(
    words: list[str],
    message: str,
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "reports" / "baselines"
    for name in ("taken", "broken"):
        (folder / name).mkdir(parents=True)
    (folder / "taken" / "notes.txt").touch()
    (folder / "broken" / "baseline.json").write_text('{"schema_version": 1')
    monkeypatch.chdir(tmp_path)
    assert main(["baseline", *words]) == 2
    assert_one_line(capsys, message)
    assert (folder / "taken" / "notes.txt").exists()


@pytest.mark.slow
def test_a_slowed_artifact_is_found(grandopt: Grandopt, tmp_path: Path) -> None:
    program = capture(reference.load("lvn_embedder", "lvn_embedder", 0))
    built = build(program, Candidate("float32", NativeOptions(vector_bits=256)), Store(tmp_path / "store"))
    shutil.copytree(built.path, tmp_path / "artifacts" / "lvn_embedder")
    slowed(built.path, tmp_path / "new" / "lvn_embedder", 2000)
    assert grandopt("baseline", "save", "main").returncode == 0
    found = grandopt("compare", "main", "new", "--json", "--junit", "gate.xml")
    assert found.returncode == 1, found.stderr
    result = GateReport.model_validate_json(found.stdout)
    rows = {figure.figure: figure.outcome for figure in result.agents[0].figures}
    assert rows == {"p50": "regression", "size": "pass", "accuracy": "pass"}
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "1"
    # Some twenty times as slow, but that much is allowed.
    assert grandopt("compare", "main", "new", "--max-regression", "20000%", "-q").returncode == 0
