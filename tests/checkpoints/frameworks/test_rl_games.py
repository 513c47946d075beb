"""rl_games' checkpoints, written here to the layout of its agents, against its players' formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.frameworks import files

SIZE, WIDTH, ACTIONS = 7, 8, 3
REAL = Path(__file__).parents[4] / "shared" / "policies" / "rlgames_quadruped_amp.pth"


def _load(path: Path, **settings: Any) -> Checkpoint:
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def _answer(checkpoint: Checkpoint, *inputs: torch.Tensor) -> Any:
    with torch.no_grad():
        return checkpoint.module(*inputs)


def _parts(taken: int = SIZE, heads: tuple[int, ...] = (ACTIONS,)) -> tuple[nn.Sequential, list[nn.Linear]]:
    """The actor's stack, an activation behind its last layer, and what stands on it."""
    stack = nn.Sequential(*files.mlp(taken, 16, WIDTH), nn.ELU())
    return stack, files.seeded(lambda: [nn.Linear(WIDTH, size) for size in heads], seed=3)


def _continuous(stack: nn.Module, mean: nn.Module) -> dict[str, torch.Tensor]:
    return {"sigma": torch.zeros(ACTIONS), **files.named(stack, "actor_mlp"), **files.named(mean, "mu")}


def _scaled(observation: torch.Tensor) -> torch.Tensor:
    held = files.rl_games_statistics(SIZE)
    divisor = torch.sqrt(held["running_var"].float() + 1e-5)
    return ((observation - held["running_mean"].float()) / divisor).clamp(-5, 5)


@pytest.mark.parametrize("place", ["model", "beside", "by key"])
def test_the_statistics_are_folded_in_wherever_a_version_keeps_them(tmp_path: Path, place: str) -> None:
    (stack, (mean,)), held = _parts(), files.rl_games_statistics(SIZE)
    match place:
        case "model":
            content = files.rl_games(_continuous(stack, mean), held)
        case "beside":
            content = files.rl_games(_continuous(stack, mean), running_mean_std=held)
        case _:
            by_key = {f"running_mean_std.proprio.{name}": tensor for name, tensor in held.items()}
            content = files.rl_games(_continuous(stack, mean), by_key)
    found = _load(files.saved(content, tmp_path / "a.pth"), activation="elu")
    observation = files.observations(SIZE)
    wanted = mean(stack(_scaled(observation))).clamp(-1, 1)
    torch.testing.assert_close(_answer(found, observation), wanted)
    (spec,) = found.inputs
    assert (spec.name, spec.shape) == ("proprio" if place == "by key" else "obs", (SIZE,))
    assert (found.contract.low, found.contract.clip_obs) == ((-1.0,) * ACTIONS, 5.0)
    assert found.moments[spec.name].clip == 5.0


def test_actions_are_brought_to_the_bounds_or_left_as_they_are(tmp_path: Path) -> None:
    stack, (mean,) = _parts()
    path = files.saved(files.rl_games(_continuous(stack, mean)), tmp_path / "a.pth")
    observation = files.observations(SIZE)
    raw = mean(stack(observation))
    low, high = [-2.0, -1.0, 0.0], [2.0, 1.0, 4.0]
    found = _load(path, activation="elu", bounds={"low": low, "high": high})
    middle, reach = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([2.0, 1.0, 2.0])
    torch.testing.assert_close(_answer(found, observation), raw.clamp(-1, 1) * reach + middle)
    torch.testing.assert_close(_answer(_load(path, activation="elu", bounds="none"), observation), raw)
    with pytest.raises(CheckpointError, match="'bounds' holds 2 numbers, but the action has 3"):
        _load(path, activation="elu", bounds={"low": [-1, -1], "high": [1, 1]})


@pytest.mark.parametrize("sizes", [(4,), (3, 2)])
def test_discrete_actions_are_the_largest_logits(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    stack, heads = _parts(heads=sizes)
    names = ["logits"] if len(sizes) == 1 else [f"logits.{index}" for index in range(len(sizes))]
    network = files.named(stack, "actor_mlp")
    for name, head in zip(names, heads, strict=True):
        network |= files.named(head, name)
    found = _load(files.saved(files.rl_games(network), tmp_path / "a.pth"), activation="elu")
    observation = files.observations(SIZE)
    logits = [head(stack(observation)) for head in heads]
    wanted = torch.stack([part.argmax(dim=1) for part in logits], dim=1)
    torch.testing.assert_close(_answer(found, observation).reshape(1000, -1), wanted)
    assert found.contract.groups == sizes
    assert found.scores is not None
    torch.testing.assert_close(found.scores(observation), torch.cat(logits, dim=1))
    with pytest.raises(CheckpointError, match="'bounds' cannot be used with"):
        _load(tmp_path / "a.pth", activation="elu", bounds="none")


def test_where_two_orders_fit_the_settings_of_the_run_say_which(tmp_path: Path) -> None:
    memory = files.seeded(lambda: nn.LSTM(SIZE, SIZE))
    stack = nn.Sequential(*files.mlp(SIZE, 16, SIZE), nn.ELU())
    mean = files.seeded(lambda: nn.Linear(SIZE, ACTIONS), seed=3)
    content = files.rl_games({**_continuous(stack, mean), **files.named(memory, "rnn.rnn")})
    (tmp_path / "nn").mkdir()
    path = files.saved(content, tmp_path / "nn" / "a.pth")
    with pytest.raises(CheckpointError, match="fit in several orders; if the settings of the run"):
        _load(path, activation="elu")
    observation, state = files.observations(SIZE, 5), torch.zeros(5, 1, SIZE)
    for before in (True, False):
        said = f"{{mlp: {{activation: elu}}, rnn: {{before_mlp: {str(before).lower()}}}}}"
        (tmp_path / "config.yaml").write_text(f"params: {{config: {{clip_actions: false}}, network: {said}}}")
        action, *_ = _answer(_load(path), observation, state, state)
        given, _ = memory((observation if before else stack(observation))[None])
        wanted = mean(stack(given[0]) if before else given[0])
        torch.testing.assert_close(action, wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"running_mean_std.running_mean": torch.zeros(SIZE)}, "holds no running_mean and running_var"),
        ({"running_mean_std.running_mean": torch.zeros(2), "running_mean_std.running_var": torch.ones(3)},
         "are no statistics"),
        ({"running_mean_std.running_mean": torch.zeros(7), "running_mean_std.running_var": -torch.ones(7)},
         "a negative spread"),
        ({"running_mean_std.running_mean": torch.zeros(2), "running_mean_std.running_var": torch.ones(2)},
         "statistics are of 2 numbers"),
        ({f"running_mean_std.running_mean_std.{key}.running_mean": torch.zeros(2) for key in "ab"},
         "normalises 2 observations (a, b)"),
    ],
)  # fmt: skip
def test_bad_statistics_are_one_line(tmp_path: Path, change: dict[str, torch.Tensor], words: str) -> None:
    stack, (mean,) = _parts()
    content = files.rl_games(_continuous(stack, mean))
    content["model"] |= change
    path = files.saved(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as caught:
        _load(path, activation="elu")
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class _Anything:
    """An object that no reader may build."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('built')",)


def test_what_would_run_code_beside_the_model_is_not_built(tmp_path: Path) -> None:
    stack, (mean,) = _parts()
    content = files.rl_games(_continuous(stack, mean), env_state={"world": [_Anything()]})
    path = files.saved(content, tmp_path / "a.pth")
    found = _load(path, activation="elu")
    assert found.source.details["not_read"] == ["env_state"]
    assert detect.describe(path)["not_read"] == ["env_state"]
    observation = files.observations(SIZE)
    torch.testing.assert_close(_answer(found, observation), mean(stack(observation)).clamp(-1, 1))


@pytest.mark.skipif(not REAL.is_file(), reason="the real policies are not beside the checkout")
def test_a_real_file_needs_its_activation_alone() -> None:
    found = _load(REAL, activation="elu")
    model = torch.load(REAL, map_location="cpu", weights_only=True)["model"]
    observation = files.observations(41)
    mean, var = (model[f"running_mean_std.running_{name}"].float() for name in ("mean", "var"))
    hidden = ((observation - mean) / torch.sqrt(var + 1e-5)).clamp(-5, 5)
    for layer in ("actor_mlp.0", "actor_mlp.2", "actor_mlp.4"):
        weight, bias = (model[f"a2c_network.{layer}.{part}"] for part in ("weight", "bias"))
        hidden = nn.functional.elu(hidden @ weight.T + bias)
    wanted = (hidden @ model["a2c_network.mu.weight"].T + model["a2c_network.mu.bias"]).clamp(-1, 1)
    torch.testing.assert_close(_answer(found, observation), wanted)
