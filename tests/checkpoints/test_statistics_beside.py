"""Statistics where RL Zoo, callbacks and repositories keep them: used, asked about, or named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Weights

MOMENTS = ([1.0, -2.0, 0.5], [4.0, 0.25, 1e-3])
OTHER = ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])


def _zip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Weights().layer("action_net", 2, 3)
    inner = zips.write_zip(
        path.parent / "made.zip",
        zips.ON_POLICY,
        zips.box(-np.inf, np.inf, (3,)),
        zips.box(-9, 9, (2,)),
        made.tensors,
    )
    return inner.rename(path)


def _stats(path: Path, moments: tuple[list[float], list[float]] = MOMENTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return zips.write_statistics(path, moments)


def _load(path: Path, vecnormalize: Path | str = "auto") -> Checkpoint:
    return detect.load("a", AgentConfig(checkpoint=path, vecnormalize=vecnormalize))


OWN = [
    ("HalfCheetah-v3.zip", "HalfCheetah-v3/vecnormalize.pkl"),
    ("HalfCheetah-v3.zip", "HalfCheetah-v3/vec_normalize.pkl"),
    ("ppo-Ant.zip", "vec_normalize.pkl"),
    ("ppo-Ant.zip", "vecnormalize.pkl"),
    ("ppo-Ant.zip", "ppo-Ant.vecnormalize.pkl"),
    ("ppo-Ant.zip", "ppo-Ant_vec_normalize.pkl"),
    ("ppo-Ant.zip", "vecnormalize_ppo-Ant.pkl"),
    ("rl_model_80000_steps.zip", "rl_model_vecnormalize_80000_steps.pkl"),
    ("my-ant_80000_steps.zip", "my-ant_vecnormalize_80000_steps.pkl"),
]


@pytest.mark.parametrize(("name", "file"), OWN)
def test_statistics_that_are_surely_its_own_are_folded_in(tmp_path: Path, name: str, file: str) -> None:
    path, stats = _zip(tmp_path / name), _stats(tmp_path / file)
    checkpoint = _load(path)
    assert checkpoint.contract.normalised
    assert Path(checkpoint.source.details["vecnormalize"]["path"]).samefile(stats)
    (found,) = checkpoint.statistics
    assert (found.place, found.kind, found.used, found.reason) == (str(stats), "VecNormalize", True, None)


def test_a_checkpoint_s_own_statistics_win_over_those_of_other_steps_and_shared_ones(tmp_path: Path) -> None:
    path = _zip(tmp_path / "rl_model_200_steps.zip")
    _zip(tmp_path / "rl_model_100_steps.zip")
    own = _stats(tmp_path / "rl_model_vecnormalize_200_steps.pkl")
    for other in ("rl_model_vecnormalize_100_steps.pkl", "vecnormalize.pkl"):
        _stats(tmp_path / other, OTHER)
    checkpoint = _load(path)
    assert Path(checkpoint.source.details["vecnormalize"]["path"]).samefile(own)
    left = {Path(item.place).name: item.reason for item in checkpoint.statistics if not item.used}
    assert set(left) == {"rl_model_vecnormalize_100_steps.pkl", "vecnormalize.pkl"}
    assert set(left.values()) == {"rl_model_vecnormalize_200_steps.pkl is the agent's own"}


PERHAPS = [
    (["best_model.zip", "HalfCheetah-v3.zip"], ["HalfCheetah-v3/vecnormalize.pkl"]),
    (["best_model.zip"], ["HalfCheetah-v3/vecnormalize.pkl"]),
    (["a.zip", "b.zip"], ["vecnormalize.pkl"]),
    (["rl_model_200_steps.zip", "rl_model_100_steps.zip"], ["rl_model_vecnormalize_100_steps.pkl"]),
    (["a.zip"], ["c.vecnormalize.pkl"]),
    (["a.zip"], ["a.vecnormalize.pkl", "vecnormalize.pkl"]),
]


@pytest.mark.parametrize(("names", "files"), PERHAPS)
def test_statistics_that_may_be_another_s_are_asked_about(
    tmp_path: Path, names: list[str], files: list[str]
) -> None:
    path, *_ = [_zip(tmp_path / name) for name in names]
    made = [_stats(tmp_path / file, moments) for file, moments in zip(files, (MOMENTS, OTHER), strict=False)]
    with pytest.raises(
        CheckpointError, match=r"may be its own.*`vecnormalize: FILE` or `vecnormalize: none`"
    ):
        _load(path)
    checkpoint = _load(path, made[0])
    assert checkpoint.contract.normalised
    used = [Path(item.place) for item in checkpoint.statistics if item.used]
    assert used == [made[0]]
    assert {Path(item.place) for item in checkpoint.statistics if not item.used} == set(made[1:])
    checkpoint = _load(path, "none")
    assert not checkpoint.contract.normalised
    assert {Path(item.place): item.reason for item in checkpoint.statistics} == dict.fromkeys(
        made, "'vecnormalize: none' was given"
    )
    assert not any(item["used"] for item in detect.describe(path)["statistics"])


def test_two_copies_of_one_file_are_no_question(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip")
    _stats(tmp_path / "a.vecnormalize.pkl")
    _stats(tmp_path / "vecnormalize.pkl")
    assert _load(path).contract.normalised


@pytest.mark.parametrize("other", ["b.vecnormalize.pkl", "b/vecnormalize.pkl", "runs/b/vecnormalize.pkl"])
def test_statistics_of_another_agent_say_nothing_about_this_one(tmp_path: Path, other: str) -> None:
    path = _zip(tmp_path / "a.zip")
    _zip((tmp_path / other).parent / "b.zip")
    _stats(tmp_path / other)
    assert _load(path).statistics == ()


SETTINGS = [
    (
        "!!python/object/apply:collections.OrderedDict\n- - - n_envs\n    - 1\n  - - normalize\n    - true\n",
        True,
    ),
    ("- - normalize\n  - '{''norm_obs'': True, ''norm_reward'': False}'\n", True),
    ("normalize: dict(norm_obs=True, norm_reward=False)\n", True),
    ("normalize: true\n", True),
    ("- - normalize\n  - '{''norm_obs'': False, ''norm_reward'': True}'\n", False),
    ("normalize: false\n", False),
    ("policy_kwargs: dict(normalize_images=True)\n", False),
]


@pytest.mark.parametrize(("text", "named"), SETTINGS)
@pytest.mark.parametrize("place", ["config.yml", "ant/config.yml", "ant/args.yml"])
def test_settings_that_speak_of_missing_statistics_are_named(
    tmp_path: Path, text: str, named: bool, place: str
) -> None:
    path = _zip(tmp_path / "ant.zip")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(text)
    checkpoint = _load(path)
    assert bool(checkpoint.statistics) == named
    if named:
        (found,) = checkpoint.statistics
        assert (found.place, found.used) == (str(tmp_path / place), False)
        assert found.reason is not None
        assert "--vecnormalize" in found.reason


def test_a_file_that_does_not_normalise_observations_is_named(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip")
    zips.write_statistics(tmp_path / "a.vecnormalize.pkl", MOMENTS, norm_obs=False)
    (found,) = _load(path).statistics
    assert (found.used, found.reason) == (False, "it does not normalise observations (norm_obs is false)")


def test_statistics_beside_other_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(2, 3)), path)
    _stats(tmp_path / "vec_normalize.pkl")
    config = AgentConfig.model_validate({"checkpoint": path, "inputs": [{"name": "x", "shape": [3]}]})
    (found,) = detect.load("a", config).statistics
    assert (Path(found.place).name, found.used) == ("vec_normalize.pkl", False)
    assert found.reason is not None
    assert "normalise them before the call" in found.reason


@pytest.mark.parametrize("name", ["a2c-Hopper-v3", "ppo-BipedalWalker-v3"])
def test_an_agent_in_rl_zoo_s_layout_acts_as_in_sb3(
    shared_checkpoints: Path, tmp_path: Path, name: str
) -> None:
    algorithm, _, environment = name.partition("-")
    run = tmp_path / "logs" / algorithm / f"{environment}_1"
    (run / environment).mkdir(parents=True)
    shutil.copy(shared_checkpoints / "sb3" / f"{name}.zip", run / f"{environment}.zip")
    shutil.copy(
        shared_checkpoints / "sb3" / f"{name}.vecnormalize.pkl", run / environment / "vecnormalize.pkl"
    )
    (run / environment / "config.yml").write_text("- - normalize\n  - true\n")
    checkpoint = _load(run / f"{environment}.zip")
    with np.load(shared_checkpoints / "sb3" / f"{name}.expected.npz") as expected:
        raw = torch.from_numpy(expected["raw_obs"]).to(getattr(torch, checkpoint.inputs[0].dtype))
        with torch.no_grad():
            got = checkpoint.module(raw).numpy()
        np.testing.assert_allclose(got, expected["action"], rtol=0, atol=2e-5)
    assert [item.used for item in checkpoint.statistics] == [True]
