"""A checkpoint of skrl 1, of an agent whose models its instantiators make: `skrl_1.py OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from skrl.agents.torch.ppo import PPO, PPO_DEFAULT_CONFIG
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

COUNT, SIZE, ACTIONS = 1000, 9, 4
OBSERVED = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
ACTED = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
NETWORK = [{"name": "trunk", "input": "STATES", "layers": [32, 16], "activations": "relu"}]


def main(output: Path) -> None:
    torch.manual_seed(0)
    common = {"observation_space": OBSERVED, "action_space": ACTED, "device": "cpu", "network": NETWORK}
    policy = gaussian_model(output="tanh(ACTIONS)", **common)
    models = {"policy": policy, "value": deterministic_model(output="ONE", **common)}
    for role, model in models.items():
        model.init_state_dict(role)
    scaler = {"size": OBSERVED, "device": "cpu"}
    cfg = {
        **PPO_DEFAULT_CONFIG,
        "state_preprocessor": RunningStandardScaler,
        "state_preprocessor_kwargs": scaler,
    }
    agent = PPO(
        models=models, memory=None, observation_space=OBSERVED, action_space=ACTED, device="cpu", cfg=cfg
    )
    obs = 3 * torch.randn(COUNT, SIZE) + 1
    agent._state_preprocessor(obs, train=True)
    agent.set_running_mode("eval")
    with torch.no_grad():
        *_, outputs = agent.act(obs, timestep=0, timesteps=1)
    agent.save(str(output / "separate.pt"))
    np.savez(output / "separate.npz", obs=obs.numpy(), action=outputs["mean_actions"].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
