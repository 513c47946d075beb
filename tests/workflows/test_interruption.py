"""Runs that are stopped: by Ctrl-C, and by a kill at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.workflows import command

PATIENCE_S = 120.0
TWO_AGENTS = ("--agent", "decision_gate", "--agent", "lvn_embedder")
ENGINES = ("--engine", "eager", "--engine", "torchscript", "--engine", "native")
WANTED = ("optimize", *TWO_AGENTS, *ENGINES, "--profile", "standard", "--budget")
SEARCHING = (*WANTED, "10")


def _wait_for(path: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    """Until the process has written `text`; fails when it ends before."""
    end = time.monotonic() + PATIENCE_S
    while text not in path.read_text(encoding="utf-8"):
        assert process.poll() is None, path.read_text(encoding="utf-8")
        assert time.monotonic() < end, path.read_text(encoding="utf-8")
        time.sleep(0.02)


def _interrupted(folder: Path, *moment: str) -> tuple[int, str]:
    """Exit code and stderr of a run that gets Ctrl-C once it has said all of `moment`, in turn."""
    said = folder / "stderr"
    with said.open("wb") as stderr:
        process = command.start(folder, *SEARCHING, stderr=stderr)
        try:
            for text in moment:
                _wait_for(said, text, process)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
            code = process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    return code, said.read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_keeps_the_agents_that_are_done(tmp_path: Path) -> None:
    code, said = _interrupted(tmp_path, "decision_gate done: ", "lvn_embedder ")
    assert (code, said.splitlines()[-1]) == (130, "error: interrupted")
    report = command.report(tmp_path)
    assert report.status == "partial"
    assert report.agents[0].status in {"optimized", "original kept"}
    assert (report.agents[1].name, report.agents[1].status) == ("lvn_embedder", "not run")
    assert [path.name for path in command.artifacts(tmp_path)] == ["decision_gate"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "decision_gate batches: ",
        *(
            pytest.param(f"decision_gate {step}: ", marks=pytest.mark.stress)
            for step in ("build", "first round", "measure", "start")
        ),
    ],
)
def test_ctrl_c_in_every_phase_leaves_a_report_to_go_on_from(tmp_path: Path, moment: str) -> None:
    code, said = _interrupted(tmp_path, moment)
    assert (code, said.splitlines()[-1]) == (130, "error: interrupted")
    assert "Traceback" not in said
    report = command.report(tmp_path)
    assert report.status == "partial"
    assert [(agent.name, agent.status) for agent in report.agents] == [
        ("decision_gate", "not run"),
        ("lvn_embedder", "not run"),
    ]
    assert all(agent.reason for agent in report.agents)
    assert command.artifacts(tmp_path) == []
    result = command.run(tmp_path, *SEARCHING, "--resume")
    assert result.returncode == 0, result.stderr
    assert command.report(tmp_path).status == "complete"
    assert [path.name for path in command.artifacts(tmp_path)] == ["decision_gate", "lvn_embedder"]


@pytest.mark.slow
def test_a_killed_worker_costs_a_candidate_and_not_the_run(tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        # Long enough for others to be built after those that are lost.
        process = command.start(tmp_path, *WANTED, "20", stderr=stderr)
        try:
            for moment in ("decision_gate build: ", "decision_gate measure: "):
                _wait_for(said, moment, process)
                for worker in psutil.Process(process.pid).children():
                    worker.kill()
            assert process.wait(PATIENCE_S) == 0, said.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()
    text = said.read_text(encoding="utf-8")
    assert "Traceback" not in text
    report = command.report(tmp_path)
    assert report.status == "complete"
    assert {agent.status for agent in report.agents} <= {"optimized", "original kept"}
    assert any("SIGKILL" in str(row.reason) for row in report.agents[0].candidates)


@pytest.mark.stress
def test_two_runs_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    outputs = [tmp_path / "first", tmp_path / "second"]
    runs = []
    for path in outputs:
        with path.open("wb") as stderr:
            runs.append(command.start(tmp_path, *SEARCHING, stderr=stderr))
    try:
        codes = [process.wait(2 * PATIENCE_S) for process in runs]
    finally:
        for process in runs:
            process.kill()
            process.wait()
    texts = [path.read_text(encoding="utf-8") for path in outputs]
    assert codes == [0, 0], texts
    assert not any("Traceback" in text for text in texts)
    assert command.report(tmp_path).status == "complete"
    assert [path.name for path in command.artifacts(tmp_path)] == ["decision_gate", "lvn_embedder"]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.stress)])
def test_a_run_killed_at_any_moment_leaves_whole_artifacts_and_goes_on(tmp_path: Path, kills: int) -> None:
    moments = random.Random(20)
    for _ in range(kills):
        _kill(tmp_path, after_s=moments.uniform(0.5, 15.0))
    # Once more, surely after some trials were finished.
    _kill(tmp_path, after_s=moments.uniform(0.0, 2.0), moment="decision_gate measure: ")
    result = command.run(tmp_path, *SEARCHING)
    assert result.returncode == 0, result.stderr
    report = command.report(tmp_path)
    assert report.status == "complete"
    assert {agent.status for agent in report.agents} <= {"optimized", "original kept"}
    assert [path.name for path in command.artifacts(tmp_path)] == ["decision_gate", "lvn_embedder"]
    reused = [agent.tuning["reused"] for agent in report.agents if agent.tuning is not None]
    assert len(reused) == 2
    assert reused[0] > 0


def _kill(folder: Path, after_s: float, moment: str | None = None) -> None:
    """Start the run and kill it after so many seconds, counted from its saying `moment` where given."""
    said = folder / "stderr"
    with said.open("wb") as stderr:
        process = command.start(folder, *SEARCHING, stderr=stderr)
        try:
            if moment is not None:
                _wait_for(said, moment, process)
            time.sleep(after_s)
            workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        finally:
            process.kill()
            process.wait()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert not alive, "a worker outlived the killed run"
    command.artifacts(folder)  # each is complete
    if (folder / "reports" / "optimization_report.json").exists():
        assert command.report(folder).status in {"partial", "complete"}
