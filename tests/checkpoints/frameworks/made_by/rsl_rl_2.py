"""Checkpoints of RSL-RL 2, of its own actor critics and with its runner's keys: `rsl_rl_2.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from rsl_rl.modules import ActorCritic, ActorCriticRecurrent, EmpiricalNormalization

COUNT, SIZE, ACTIONS = 1000, 9, 4


def main(output: Path) -> None:
    for name in ("mlp", "lstm", "plain"):
        torch.manual_seed(0)
        obs = 3 * torch.randn(COUNT, SIZE) + 1
        hidden = {"actor_hidden_dims": [32, 16], "critic_hidden_dims": [8], "activation": "lrelu"}
        kind = ActorCriticRecurrent if name == "lstm" else ActorCritic
        made = kind(SIZE, SIZE, ACTIONS, **hidden)
        made.eval()
        saved = {"model_state_dict": made.state_dict(), "optimizer_state_dict": {}, "iter": 7, "infos": None}
        normalise = torch.nn.Identity()
        if name != "plain":
            normalise = EmpiricalNormalization(shape=[SIZE])
            normalise(obs)
            normalise.eval()
            saved |= {"obs_norm_state_dict": normalise.state_dict(), "privileged_obs_norm_state_dict": {}}
        size = 50 if name == "lstm" else COUNT
        with torch.no_grad():
            parts = [
                made.act_inference(normalise(obs[start : start + size])) for start in range(0, COUNT, size)
            ]
        torch.save(saved, output / f"{name}.pt")
        np.savez(output / f"{name}.npz", obs=obs.numpy(), action=torch.cat(parts).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
