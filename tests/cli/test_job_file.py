"""`grandopt init FILE` and `grandopt inspect FILE --write` begin a job with what is in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from grandopt.cli.app import main
from grandopt.compiler.checkpoints import detect
from grandopt.config.load import load_file
from grandopt.errors import CheckpointError, ConfigError
from tests.checkpoints.onnx import models


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_the_activations_are_left_to_say(folder: Path) -> None:
    torch.save({"step": 3, "actor": mlp().state_dict()}, folder / "my run.pth")
    assert main(["init", "my run.pth"]) == 0
    text = (folder / "grandopt.yaml").read_text()
    assert "# Sequential(Linear(3, 4), ACTIVATION, Linear(4, 2), OUTPUT)\n" in text
    ((name, agent),) = load_file(Path("grandopt.yaml")).agents.items()
    assert (name, agent.key, agent.checkpoint) == ("my_run", "actor", Path("my run.pth"))
    with pytest.raises(CheckpointError, match="'ACTIVATION' is no activation; write mlp:HIDDEN"):
        detect.load(name, agent)
    (folder / "grandopt.yaml").write_text(text.replace("mlp:ACTIVATION ", "mlp:relu "))
    ((name, agent),) = load_file(Path("grandopt.yaml")).agents.items()
    x = torch.randn(2, 3)
    torch.testing.assert_close(detect.load(name, agent).module(x), mlp()(x))


def test_inspect_writes_the_same_entry(folder: Path) -> None:
    torch.save(mlp().state_dict(), folder / "actor.pth")
    (folder / "jobs").mkdir()
    assert main(["inspect", "actor.pth", "-q", "--write", "jobs/a.yaml"]) == 0
    assert main(["init", "actor.pth", "jobs/b.yaml", "-q"]) == 0
    first, second = (yaml.safe_load((folder / "jobs" / name).read_text()) for name in ("a.yaml", "b.yaml"))
    assert first["agents"] == second["agents"]
    assert first["agents"]["actor"] == {"checkpoint": "../actor.pth", "network": "mlp:ACTIVATION"}


def test_every_network_of_a_file_is_an_agent(folder: Path) -> None:
    both = nn.ModuleDict({"actor": mlp(), "critic": nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 1))})
    torch.save({"model": both.state_dict(), "other": {"scale": torch.zeros(2)}}, folder / "run.pth")
    assert main(["init", "run.pth"]) == 0
    agents = load_file(Path("grandopt.yaml")).agents
    assert {name: (agent.key, agent.network) for name, agent in agents.items()} == {
        "run-model.actor": ("model.actor", "mlp:ACTIVATION"),
        "run-model.critic": ("model.critic", "gru:ACTIVATION"),
    }


def test_a_folder_of_every_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = folder / "models"
    made.mkdir()
    models.save(models.sequential(mlp()), made / "a.onnx")
    torch.jit.save(torch.jit.script(mlp()), made / "b.pt")
    torch.save(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).state_dict(), made / "c.pth")
    torch.save({"scale": torch.zeros(2)}, made / "d.pth")
    torch.save(mlp(), made / "e.pth")
    (made / "f.pth").write_bytes((made / "d.pth").read_bytes()[:300])
    assert main(["init", "models"]) == 0
    assert capsys.readouterr().err.startswith("left out: models/f.pth")
    agents = yaml.safe_load((folder / "grandopt.yaml").read_text())["agents"]
    assert list(agents) == ["a", "b", "c", "d", "e"]
    assert agents["a"] == {"checkpoint": "models/a.onnx"}
    assert [item["shape"] for item in agents["b"]["inputs"]] == [["SIZE"]]
    assert agents["c"]["network_args"] == {"stride": ["S"]}
    assert agents["c"]["inputs"] == [{"name": "obs", "shape": [1, "H", "W"]}]
    assert agents["d"]["network"] == "MODULE:CALLABLE"
    assert agents["e"]["trust"] is False
    with pytest.raises(ConfigError, match=r"agents.b.inputs.0.shape.0: .*'SIZE'"):
        load_file(Path("grandopt.yaml"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init", "actor.pth"], "grandopt.yaml exists and is not overwritten"),
        (["inspect", "actor.pth", "--write", "grandopt.yaml"], "grandopt.yaml exists and is not overwritten"),
        (["init", "a.yaml", "b.yaml"], "one file is written, but 2 are named"),
        (["init", "missing.pth", "new.yaml"], "missing.pth: no such file"),
    ],
)
def test_nothing_is_overwritten_or_made_up(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    torch.save(mlp().state_dict(), folder / "actor.pth")
    (folder / "grandopt.yaml").write_text("mine")
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert (folder / "grandopt.yaml").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["actor.pth", "grandopt.yaml"]
