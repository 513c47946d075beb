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
SEARCHING = ("optimize", *TWO_AGENTS, *ENGINES, "--profile", "standard", "--budget", "20")


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


def test_ctrl_c_leaves_a_partial_report(tmp_path: Path) -> None:
    code, said = _interrupted(tmp_path, "decision_gate first round: ")
    assert code == 130
    assert said.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in said
    report = command.report(tmp_path)
    assert report.status == "partial"
    assert [(agent.name, agent.status) for agent in report.agents] == [
        ("decision_gate", "not run"),
        ("lvn_embedder", "not run"),
    ]
    assert all(agent.reason for agent in report.agents)
    assert command.artifacts(tmp_path) == []


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
def test_a_run_killed_at_any_moment_leaves_whole_artifacts_and_goes_on(tmp_path: Path) -> None:
    moments = random.Random(20)
    for _ in range(4):
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
