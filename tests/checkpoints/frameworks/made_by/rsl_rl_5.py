"""Checkpoints of RSL-RL 4 and 5, saved by its own models and runner's keys: `rsl_rl_5.py OUTPUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rsl_rl.models import CNNModel, MLPModel, RNNModel
from tensordict import TensorDict

COUNT, SIZE, ACTIONS = 1000, 9, 4
MODULES = "rsl_rl.modules"
GAUSSIAN = {"class_name": f"{MODULES}:GaussianDistribution", "std_type": "log"}
HETEROSCEDASTIC = {"class_name": f"{MODULES}:HeteroscedasticGaussianDistribution"}
BETA = {"class_name": f"{MODULES}:BetaDistribution", "action_range": (-2.0, 1.0)}
CONVOLUTIONS = {
    "output_channels": [4, 6],
    "kernel_size": [3, 3],
    "stride": [2, 1],
    "padding": "zeros",
    "max_pool": [True, False],
}
IMAGE = (2, 16, 12)


def observations() -> TensorDict:
    obs = 3 * torch.randn(COUNT, SIZE) + 1
    return TensorDict({"policy": obs, "camera": torch.rand(COUNT, *IMAGE)}, batch_size=[COUNT])


def model(name: str, obs: TensorDict) -> torch.nn.Module:
    common: dict[str, Any] = {
        "hidden_dims": [32, 16],
        "obs_normalization": True,
        "distribution_cfg": dict(GAUSSIAN),
    }
    groups = {"actor": ["policy"]}
    match name:
        case "mlp":
            return MLPModel(obs, groups, "actor", ACTIONS, activation="elu", **common)
        case "plain":
            return MLPModel(
                obs, groups, "actor", ACTIONS, activation="crelu", **{**common, "obs_normalization": False}
            )
        case "heteroscedastic":
            return MLPModel(
                obs, groups, "actor", ACTIONS, **{**common, "distribution_cfg": dict(HETEROSCEDASTIC)}
            )
        case "beta":
            return MLPModel(obs, groups, "actor", ACTIONS, **{**common, "distribution_cfg": dict(BETA)})
        case "gru" | "lstm":
            return RNNModel(
                obs, groups, "actor", ACTIONS, rnn_type=name, rnn_hidden_dim=12, rnn_num_layers=2, **common
            )
        case "cnn":
            both = {"actor": ["policy", "camera"]}
            return CNNModel(obs, both, "actor", ACTIONS, cnn_cfg=dict(CONVOLUTIONS), **common)
    raise ValueError(name)


def main(output: Path) -> None:
    (output / "params").mkdir()
    (output / "params" / "agent.yaml").write_text(json.dumps({"actor": {"cnn_cfg": CONVOLUTIONS}}))
    for name in ("mlp", "plain", "heteroscedastic", "beta", "gru", "lstm", "cnn"):
        torch.manual_seed(0)
        obs = observations()
        actor = model(name, obs)
        actor.train()
        actor.update_normalization(obs)
        actor.eval()
        with torch.no_grad():
            for parameter in actor.parameters():
                parameter.mul_(1.5)
            if name in ("gru", "lstm"):
                steps = [obs[start : start + 50] for start in range(0, COUNT, 50)]
                answers = torch.cat([actor(step) for step in steps])
            else:
                answers = actor(obs)
        saved = {"actor_state_dict": actor.state_dict(), "critic_state_dict": {}, "optimizer_state_dict": {}}
        torch.save({**saved, "iter": 7, "infos": None}, output / f"{name}.pt")
        np.savez(
            output / f"{name}.npz",
            obs=obs["policy"].numpy(),
            camera=obs["camera"].numpy(),
            action=answers.numpy(),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
