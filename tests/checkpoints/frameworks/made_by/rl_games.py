"""Checkpoints of rl_games, of its own models and players: `rl_games.py OUTPUT`.

Like those of a training run they hold the best reward as a number of NumPy, and the state of an environment,
which is an object of a class of the user's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from rl_games.algos_torch.players import PpoPlayerContinuous, PpoPlayerDiscrete

COUNT, SIZE, ACTIONS = 1000, 9, 4
LOW, HIGH = -2.0, 1.0

CONTINUOUS: dict[str, Any] = {
    "mu_activation": "None",
    "sigma_activation": "None",
    "mu_init": {"name": "default"},
    "sigma_init": {"name": "const_initializer", "val": 0},
    "fixed_sigma": True,
}
RNN: dict[str, Any] = {"name": "lstm", "units": 12, "layers": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "tanh": {"space": {"continuous": {**CONTINUOUS, "mu_activation": "tanh"}}},
    "lstm": {"rnn": {**RNN, "concat_output": True}},
    "gru_before": {"rnn": {**RNN, "name": "gru", "layers": 2, "before_mlp": True, "layer_norm": True}},
    "separate": {"separate": True, "rnn": {**RNN, "concat_input": True, "layer_norm": True}},
    "discrete": {"space": {"discrete": {}}},
    "multi": {"space": {"multi_discrete": {}}},
}
SPACES = {
    "discrete": spaces.Discrete(5),
    "multi": spaces.Tuple((spaces.Discrete(3), spaces.Discrete(4))),
}


class Environment:
    """The state of an environment, which a checkpoint carries along."""


def player(name: str) -> Any:
    network: dict[str, Any] = {
        "name": "actor_critic",
        "separate": False,
        "space": {"continuous": CONTINUOUS},
        "mlp": {"units": [32, 16], "activation": "elu", "initializer": {"name": "default"}},
        **NETWORKS[name],
    }
    kind = {"discrete": "discrete_a2c", "multi": "multi_discrete_a2c"}.get(name, "continuous_a2c_logstd")
    acted = SPACES.get(name, spaces.Box(LOW, HIGH, (ACTIONS,), np.float32))
    observed = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
    config = {
        "env_name": "none",
        "env_info": {"action_space": acted, "observation_space": observed},
        "normalize_input": True,
        "normalize_value": True,
        "device_name": "cpu",
    }
    made = PpoPlayerDiscrete if name in SPACES else PpoPlayerContinuous
    return made({"config": config, "model": {"name": kind}, "network": network})


def main(output: Path) -> None:
    for name in NETWORKS:
        torch.manual_seed(0)
        agent = player(name)
        agent.has_batch_dimension = True
        obs = 3 * torch.randn(COUNT, SIZE) + 1
        agent.model.running_mean_std.train()
        agent.model.running_mean_std(obs)
        agent.model.eval()
        size = COUNT
        if agent.is_rnn:
            agent.batch_size = size = 50
            agent.reset()
        parts = [agent.get_action(obs[at : at + size], is_deterministic=True) for at in range(0, COUNT, size)]
        state = {"model": agent.model.state_dict(), "epoch": 3, "frame": 900, "optimizer": {}}
        torch.save(
            {**state, "last_mean_rewards": np.float32(12.5), "env_state": Environment()},
            output / f"{name}.pth",
        )
        np.savez(output / f"{name}.npz", obs=obs.numpy(), action=torch.cat(parts).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
