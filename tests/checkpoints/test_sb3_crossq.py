"""CrossQ of sb3-contrib, against its formula outside training: (x - ra_mean) / sqrt(ra_var + eps), …"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Weights

CROSSQ = ("sb3_contrib.crossq.policies", "CrossQPolicy")
WIDTHS = (5, 16, 8)


def _renorm(made: Weights, name: str, width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    for part in ("ra_mean", "bias"):
        made.tensors[f"{name}.{part}"] = torch.randn(width, generator=generator)
    for part in ("ra_var", "scale"):
        made.tensors[f"{name}.{part}"] = torch.rand(width, generator=generator) + 0.1
    made.tensors[f"{name}.steps"] = torch.tensor(7)


def _actor() -> Weights:
    made = Weights()
    for place, width in enumerate(WIDTHS):
        _renorm(made, f"actor.latent_pi.{3 * place}", width)
    made.layer("actor.latent_pi.1", 16, 5).layer("actor.latent_pi.4", 8, 16)
    return made.layer("actor.mu", 2, 8).layer("actor.log_std", 2, 8)


def _written(path: Path, made: Weights, *, named: bool = True, **kwargs: object) -> Path:
    spaces = (zips.box(-2, 2, (5,)), zips.box(-3, 1, (2,)))
    return zips.write_zip(path, CROSSQ if named else None, *spaces, made.tensors, kwargs)


def _wanted(made: Weights, x: torch.Tensor, epsilon: float) -> torch.Tensor:
    for place in range(3):
        own = {
            part: made.tensors[f"actor.latent_pi.{3 * place}.{part}"]
            for part in ("ra_mean", "ra_var", "scale", "bias")
        }
        x = own["scale"] * (x - own["ra_mean"]) / (own["ra_var"] + epsilon).sqrt() + own["bias"]
        if place < 2:
            name = f"actor.latent_pi.{3 * place + 1}"
            x = F.linear(x, made.tensors[f"{name}.weight"], made.tensors[f"{name}.bias"]).relu()
    mean = F.linear(x, made.tensors["actor.mu.weight"], made.tensors["actor.mu.bias"])
    return mean.tanh() * 2 - 1


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("epsilon", [0.001, 0.1])
def test_the_running_statistics_normalise_every_layer(tmp_path: Path, named: bool, epsilon: float) -> None:
    made = _actor()
    kwargs = {} if epsilon == 0.001 else {"batch_norm_eps": str(epsilon)}
    checkpoint = detect.load(
        "agent", AgentConfig(checkpoint=_written(tmp_path / "a.zip", made, named=named, **kwargs))
    )
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(checkpoint.module(x), _wanted(made, x, epsilon), rtol=1e-5, atol=1e-5)
    assert checkpoint.source.details["algorithm"] == "CrossQ"
    assert checkpoint.contract.squashed


def test_without_batch_norm_it_is_a_plain_stack(tmp_path: Path) -> None:
    made = Weights().mlp("actor.latent_pi", 5, 16).layer("actor.mu", 2, 16)
    checkpoint = detect.load("agent", AgentConfig(checkpoint=_written(tmp_path / "a.zip", made)))
    assert not any("BatchNorm" in layer for layer in checkpoint.source.details["layers"])
    assert checkpoint.source.details["algorithm"] == "CrossQ"


def test_other_layers_are_refused(tmp_path: Path) -> None:
    made = _actor()
    made.layer("actor.latent_pi.2", 8, 8)
    with pytest.raises(CheckpointError, match="numbered 0, 1, 2, 3, 4, 6, not 0, 1, 3, 4"):
        detect.load("agent", AgentConfig(checkpoint=_written(tmp_path / "a.zip", made)))


def test_half_a_renormalisation_is_refused(tmp_path: Path) -> None:
    made = _actor()
    del made.tensors["actor.latent_pi.3.ra_var"]
    with pytest.raises(CheckpointError, match=r"'actor\.latent_pi\.3' is no batch renormalisation"):
        detect.load("agent", AgentConfig(checkpoint=_written(tmp_path / "a.zip", made)))


def test_an_epsilon_that_is_none_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.zip", _actor(), batch_norm_eps="'small'")
    with pytest.raises(CheckpointError, match=r"batch_norm_eps'\] is 'small', no small number"):
        detect.load("agent", AgentConfig(checkpoint=path))
