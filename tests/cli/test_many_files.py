"""Several files, or a folder of them: each is recognised by itself, and none stops the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.cli import checkpoint_paths
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import job, outcome, refuse_unreadable
from grandopt.cli.option_groups import CheckpointReading
from grandopt.config.load import Overrides
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, ConfigError
from grandopt.workflows.job import refusals
from grandopt.workflows.open_agents import open_agents, open_each
from tests.checkpoints.onnx import models
from tests.cli.conftest import Grandopt
from tests.reporting.samples import failed, optimized, report


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two agents, a damaged one, one whose network is not said, and what is no agent."""
    made = tmp_path / "models"
    made.mkdir()
    models.save(models.sequential(network()), made / "a.onnx")
    torch.save(network().state_dict(), made / "b.pth")
    (made / "c.pth").write_bytes((made / "b.pth").read_bytes()[:600])
    (made / "README.md").write_text("Our models")
    np.savez(made / "d.npz", **{key: value.numpy() for key, value in network().state_dict().items()})
    np.savez(made / "samples.npz", obs=np.zeros((4, 3)))
    (made / ".hidden.pth").write_bytes((made / "b.pth").read_bytes())
    (made / "logs").mkdir()
    (made / "train.log").touch()
    return made


def test_a_folder_stands_for_the_checkpoints_in_it(folder: Path) -> None:
    names = ["a.onnx", "b.pth", "c.pth", "d.npz"]
    assert [path.name for path in checkpoint_paths.found([folder])] == names
    other = folder / "b.pth"
    assert checkpoint_paths.found([other, folder])[0] == other
    (folder / "empty.pth").touch()
    assert folder / "empty.pth" in checkpoint_paths.found([folder])
    (folder / "empty.pth").unlink()
    missing = folder / "missing.pth"
    assert checkpoint_paths.found([missing]) == [missing]  # its reader says that there is none
    described = job([folder])
    assert (list(described.agents), described.go_on) == (["a", "b", "c", "d"], True)
    assert not job([folder / "a.onnx"]).go_on


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ConfigError, match="is a folder that holds no checkpoint"):
        checkpoint_paths.found([tmp_path])
    monkeypatch.setattr(checkpoint_paths, "MOST_FILES", 0)
    with pytest.raises(ConfigError, match="holds 1 files and folders; at most 0"):
        checkpoint_paths.found([tmp_path])


def test_one_that_cannot_be_read_does_not_stop_the_others(folder: Path) -> None:
    described = job([folder])
    refuse_unreadable(described)
    opened, refused = open_each(described)
    assert [agent.name for agent in opened] == ["a"]
    assert [agent.name for agent in refused] == ["b", "c", "d"]
    heard: list[str] = []
    records = refusals(described, refused, lambda event: heard.append(event.agent))
    assert heard == ["b", "c", "d"]
    assert [(record.status, record.error_kind) for record in records] == [("failed", "input")] * 3
    assert "holds weights but no network" in (records[0].reason or "")
    with pytest.raises(CheckpointError, match=r"^b: .*holds weights but no network"):
        open_agents(described)
    alone = job([folder / "c.pth"], overrides=Overrides())
    with pytest.raises(CheckpointError, match=r"^c: "):
        refuse_unreadable(alone)
    assert isinstance(alone.agents["c"], AgentConfig)


def test_how_to_read_goes_to_each(folder: Path) -> None:
    described = job([folder / "b.pth", folder / "b.pth"], CheckpointReading(network="mlp:relu"))
    opened, refused = open_each(described)
    assert ([agent.name for agent in opened], refused) == (["b", "b-2"], [])


def test_the_exit_code_says_whether_any_came_through() -> None:
    bad = failed("b", error_kind="input")
    assert outcome(report(optimized(), bad)) is ExitCode.FAILED
    assert outcome(report(bad)) is ExitCode.BAD_INPUT


def test_the_table_says_what_could_not_be_read(grandopt: Grandopt, folder: Path) -> None:
    """With nothing that can be read there is nothing to build, and the report names each."""
    (folder / "a.onnx").unlink()
    result = grandopt("optimize", folder, "--json")
    assert result.returncode == ExitCode.BAD_INPUT
    agents = {agent["name"]: agent for agent in json.loads(result.stdout)["agents"]}
    assert "holds weights but no network" in agents["b"]["reason"]
    assert agents["c"]["status"] == "failed"
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1] for line in errors] == [" b", " c", " d"]


@pytest.mark.slow
def test_the_others_are_shipped(grandopt: Grandopt, folder: Path, tmp_path: Path) -> None:
    result = grandopt("optimize", folder, "--profile", "basic", "--engine", "torchscript", "--budget", "5")
    assert result.returncode == ExitCode.FAILED
    assert (tmp_path / "artifacts" / "a" / "manifest.json").is_file()
    assert "b: failed: " in result.stdout
    assert "c: failed: " in result.stdout
