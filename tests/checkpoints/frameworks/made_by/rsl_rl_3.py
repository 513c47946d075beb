"""Checkpoints of RSL-RL 3, of its own actor critics and with its runner's keys: `rsl_rl_3.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rsl_rl.modules import ActorCritic, ActorCriticRecurrent
from tensordict import TensorDict

COUNT, SIZE, ACTIONS = 1000, 9, 4
NAMES = ("mlp", "heteroscedastic", "gru", "lstm")


def policy(name: str, obs: TensorDict) -> Any:
    groups = {"policy": ["policy"], "critic": ["policy"]}
    common: dict[str, Any] = {"actor_hidden_dims": [32, 16], "critic_hidden_dims": [8], "activation": "selu"}
    common |= {"actor_obs_normalization": True}
    if name in ("gru", "lstm"):
        recurrent = {"rnn_type": name, "rnn_hidden_dim": 12}
        return ActorCriticRecurrent(obs, groups, ACTIONS, noise_std_type="log", **recurrent, **common)
    return ActorCritic(obs, groups, ACTIONS, state_dependent_std=name == "heteroscedastic", **common)


def main(output: Path) -> None:
    for name in NAMES:
        torch.manual_seed(0)
        obs = TensorDict({"policy": 3 * torch.randn(COUNT, SIZE) + 1}, batch_size=[COUNT])
        made = policy(name, obs)
        made.update_normalization(obs)
        made.eval()
        size = 50 if name in ("gru", "lstm") else COUNT
        with torch.no_grad():
            parts = [made.act_inference(obs[start : start + size]) for start in range(0, COUNT, size)]
        saved = {"model_state_dict": made.state_dict(), "optimizer_state_dict": {}, "iter": 7, "infos": None}
        torch.save(saved, output / f"{name}.pt")
        np.savez(output / f"{name}.npz", obs=obs["policy"].numpy(), action=torch.cat(parts).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
