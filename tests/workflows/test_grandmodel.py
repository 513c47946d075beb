"""The checkpoints of the trading system, with their networks in the folder that the command runs in."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.measurement.cold import cold_start
from grandopt.signature import Array
from tests import agents, fakes_measurement
from tests.workflows import command

CONFIG = """
agents:
  actor:
    checkpoint: {folder}/tactical_mappo.pth
    key: actors.0
    network: my_agents:Actor
    inputs: [{{name: state, shape: [7]}}]
  critic:
    checkpoint: {folder}/tactical_mappo.pth
    key: critics.2
    network: my_agents:Critic
    inputs: [{{name: state, shape: [7]}}]
  risk:
    checkpoint: {folder}/m_rms_model.pth
    key: model_state_dict
    network: my_agents:MarketRisk
    inputs: [{{name: positions, shape: [64]}}, {{name: risks, shape: [32]}}]
  tactical:
    checkpoint: {folder}/ultra_fast_tactical.pt
    inputs: [{{name: window, shape: [60, 7]}}]
  strategic:
    checkpoint: {folder}/strategic_system_jit.pt
    inputs:
      - {{name: mlmi, shape: [4]}}
      - {{name: nwrqk, shape: [6]}}
      - {{name: mmd, shape: [3]}}
"""
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "actor": [(7,)],
    "critic": [(7,)],
    "risk": [(64,), (32,)],
    "tactical": [(60, 7)],
    "strategic": [(4,), (6,), (3,)],
}


def _originals(folder: Path) -> dict[str, torch.nn.Module]:
    mappo = torch.load(folder / "tactical_mappo.pth", weights_only=True)
    risk = torch.load(folder / "m_rms_model.pth", weights_only=True)
    built: dict[str, torch.nn.Module] = {
        "actor": agents.Actor(),
        "critic": agents.Critic(),
        "risk": agents.MarketRisk(),
    }
    built["actor"].load_state_dict(mappo["actors"][0])
    built["critic"].load_state_dict(mappo["critics"][2])
    built["risk"].load_state_dict(risk["model_state_dict"])
    built["tactical"] = torch.jit.load(folder / "ultra_fast_tactical.pt")
    built["strategic"] = torch.jit.load(folder / "strategic_system_jit.pt")
    return {name: module.eval() for name, module in built.items()}


@pytest.mark.slow
def test_the_trading_agents_go_through(shared_checkpoints: Path, tmp_path: Path) -> None:
    folder, scratch = tmp_path / "job", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    shutil.copy(Path(agents.__file__), folder / "my_agents.py")
    models = shared_checkpoints / "grandmodel"
    (folder / "grandopt.yaml").write_text(CONFIG.format(folder=models))
    result = command.run(folder, "optimize", "--profile", "basic", "--budget", "1")
    assert result.returncode == 0, result.stderr
    assert {agent.name: agent.status in {"optimized", "original kept"} for agent in
            command.report(folder).agents} == dict.fromkeys(SHAPES, True)  # fmt: skip
    random = np.random.default_rng(1)
    asked: dict[str, list[Array]] = {
        name: [random.standard_normal((32, *shape)).astype(np.float32) for shape in shapes]
        for name, shapes in SHAPES.items()
    }
    found = command.answers(folder, asked, scratch)
    for name, module in _originals(models).items():
        with torch.no_grad():
            wanted = module(*map(torch.from_numpy, asked[name]))
        outputs = wanted if isinstance(wanted, tuple) else (wanted,)
        assert len(outputs) == len(found[name])
        for output, answer in zip(outputs, found[name], strict=True):
            np.testing.assert_allclose(answer, output.numpy(), rtol=1e-4, atol=1e-5)


def test_measuring_processes_find_code_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_loader.py").write_text(f"from {fakes_measurement.__name__} import load as load\n")
    monkeypatch.chdir(tmp_path)
    subject = fakes_measurement.subject(tmp_path, "agent", "instant")
    state = np.zeros((1, 3), np.float32)
    assert cold_start(subject, [state], loader="my_loader:load").first_call_ms > 0
