"""Checkpoints of skrl 2, of agents whose models its instantiators make: `skrl_2.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model, shared_model

COUNT, SIZE, ACTIONS = 1000, 9, 4
OBSERVED = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
ACTED = spaces.Box(-0.3, 0.3, (ACTIONS,), np.float32)
NETWORK: list[dict[str, Any]] = [
    {"name": "net", "input": "OBSERVATIONS", "layers": [32, 16], "activations": "elu"}
]


def models(name: str) -> dict[str, Any]:
    common = {"observation_space": OBSERVED, "state_space": None, "action_space": ACTED, "device": "cpu"}
    if name == "shared":
        parameters = [
            {"network": NETWORK, "output": "ACTIONS", "clip_actions": False},
            {"network": NETWORK, "output": "ONE"},
        ]
        both = shared_model(
            structure=["GaussianMixin", "DeterministicMixin"],
            roles=["policy", "value"],
            parameters=parameters,
            **common,
        )
        return {"policy": both, "value": both}
    output = "tanh(ACTIONS)" if name == "tanh" else "ACTIONS"
    policy = gaussian_model(network=NETWORK, output=output, clip_mean_actions=name == "clipped", **common)
    return {"policy": policy, "value": deterministic_model(network=NETWORK, output="ONE", **common)}


def main(output: Path) -> None:
    for name in ("shared", "separate", "tanh", "clipped"):
        torch.manual_seed(0)
        made = models(name)
        for role, model in made.items():
            model.init_state_dict(role=role)
        scaler = {"size": OBSERVED, "device": "cpu"}
        cfg = PPO_CFG(observation_preprocessor=RunningStandardScaler, observation_preprocessor_kwargs=scaler)
        cfg.experiment.write_interval = 0
        cfg.experiment.checkpoint_interval = 0
        agent = PPO(
            models=made, memory=None, observation_space=OBSERVED, action_space=ACTED, device="cpu", cfg=cfg
        )
        obs = 3 * torch.randn(COUNT, SIZE) + 1
        agent._observation_preprocessor(obs, train=True)
        agent.enable_training_mode(False) if hasattr(agent, "enable_training_mode") else None
        with torch.no_grad():
            _, outputs = agent.act(obs, None, timestep=0, timesteps=1)
        agent.save(str(output / f"{name}.pt"))
        np.savez(output / f"{name}.npz", obs=obs.numpy(), action=outputs["mean_actions"].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
