"""Training checkpoints through `grandopt optimize`: what is shipped does what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import grandopt
from grandopt.cli.app import main
from grandopt.compiler.checkpoints.base import Checkpoint
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.frameworks import files
from tests.checkpoints.frameworks.agreement import RANGE_SHARE, answers, loaded
from tests.checkpoints.frameworks.test_cleanrl import _ppo as cleanrl
from tests.checkpoints.frameworks.test_d3rlpy import _config, _d3, _network, _states
from tests.checkpoints.frameworks.test_sample_factory import _policy as sample_factory
from tests.checkpoints.frameworks.test_sample_factory import _saved as run_of_sample_factory
from tests.checkpoints.frameworks.test_tianshou import _actor as tianshou
from tests.workflows import command

SIZE = 7
SPACE, SQUASHED = {"low": -0.2, "high": 0.2}, {"squashed": True, "unbounded": True}
AGENTS: dict[str, dict[str, Any]] = {
    "cleanrl": {"checkpoint": "ppo.cleanrl_model", "statistics": "statistics.npz", "bounds": SPACE},
    "tianshou": {"checkpoint": "policy.pth", "activation": "tanh", "fix": SQUASHED, "bounds": "none"},
    "sample_factory": {"checkpoint": "checkpoint_p0/checkpoint_000000001_64.pth"},
    "d3rlpy": {"checkpoint": "sac.d3"},
    "masked": {"checkpoint": "masked.zip"},
}  # fmt: skip
"""What a user writes, for one agent of each."""


def _written(folder: Path) -> None:
    cleanrl(folder)
    mean, var = files.statistics(SIZE)
    np.savez(folder / "statistics.npz", mean=mean, var=var)
    files.saved(tianshou("mu", spread=True)[1], folder / "policy.pth")
    _, tensors = sample_factory()
    head = tensors["action_parameterization.distribution_linear.weight"].shape[1]
    memory = files.seeded(lambda: nn.GRU(head, head))
    run_of_sample_factory(folder, {**tensors, **files.named(memory, "core.core")})
    _d3(folder / "sac.d3", _states(_network(), "_mu"), _config("sac"))
    made = zips.Weights().mlp("mlp_extractor.policy_net", SIZE, 16).layer("action_net", 5, 16)
    policy = ("sb3_contrib.common.maskable.policies", "MaskableActorCriticPolicy")
    spaces = (zips.box(-4, 4, (SIZE,)), zips.discrete(5))
    zips.write_zip(folder / "masked.zip", policy, *spaces, made.tensors)


def _original(name: str, folder: Path) -> Checkpoint:
    """The agent as it is read with what AGENTS say of it."""
    said = dict(AGENTS[name])
    places = {key: folder / said.pop(key) for key in ("checkpoint", "statistics") if key in said}
    return loaded(places.pop("checkpoint"), **said, **places)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cleanrl", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.stress) for name in AGENTS if name != "cleanrl"),
    ],
)
def test_what_is_shipped_does_what_was_read(tmp_path: Path, name: str) -> None:
    _written(tmp_path)
    (tmp_path / "grandopt.yaml").write_text(yaml.safe_dump({"trials": 1, "agents": {name: AGENTS[name]}}))
    quickly = ("--engine", "native", "--precision", "float32", "--budget", "20")
    done = command.run(tmp_path, "optimize", *quickly, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert [agent.status for agent in command.report(tmp_path).agents] == ["optimized"]
    found, shipped = _original(name, tmp_path), grandopt.load(tmp_path / "artifacts" / name)
    observed = files.observations(SIZE).numpy()
    if name == "masked":
        masks = np.random.default_rng(0).random((len(observed), 5)) < 0.5
        chosen = found.module(torch.from_numpy(observed), torch.from_numpy(masks))
        given = shipped({"observation": observed, "action_masks": masks})
        np.testing.assert_array_equal(given, chosen.numpy())
        return
    if found.contract.state:
        steps = observed[:, np.newaxis]
        session = shipped.session()
        wanted, given = (
            answers(found.module, found, steps)[:, 0],
            np.stack([session(row) for row in observed]),
        )
    else:
        wanted, given = answers(found.module, found, observed), shipped(observed)
    assert np.abs(given - wanted).max() <= RANGE_SHARE * np.ptp(wanted)


@pytest.mark.parametrize("command_name", ["optimize", "inspect"])
def test_what_is_asked_for_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command_name: str
) -> None:
    _, path = cleanrl(tmp_path)
    where = ["-o", str(tmp_path)] if command_name == "optimize" else []
    code = main([command_name, str(path), *where])
    said = capsys.readouterr()
    if command_name == "optimize":
        assert code == 2
        (line,) = said.err.splitlines()
        assert "--statistics FILE.npz (mean and var of the environment's obs_rms)" in line
    else:
        assert code == 0
        assert "--statistics FILE.npz: mean and var of NormalizeObservation" in " ".join(said.out.split())


def test_options_say_what_the_file_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.saved(tianshou("mu", spread=True)[1], tmp_path / "policy.pth")
    code = main(
        ["optimize", str(path), "--activation", "tanh", "--fix", "squashed=perhaps", "-o", str(tmp_path)]
    )
    assert code == 2
    assert "squashed='perhaps'; it must be true or false" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ray.rllib.algorithms.ppo PPO", "as it is RLlib's, call torch.save(algo.get_module().state_dict()"),
        ("tianshou.algorithm PPO", "as it is Tianshou's, save policy.state_dict() alone"),
        ("mine Agent", "save its state_dict() instead"),
    ],
)
def test_pickles_are_refused_with_what_to_save_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    module, _, kind = name.partition(" ")
    path = tmp_path / "algorithm_state.pkl"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{kind}\n".encode() + b"q\x00.")
    code = main(["optimize", str(path), "-o", str(tmp_path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert f"({module}.{kind})" in line
    assert words in line
