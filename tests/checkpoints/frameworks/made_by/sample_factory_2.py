"""Checkpoints of Sample Factory's own policies, and what they do: `sample_factory_2.py OUTPUT`.

Writes NAME/config.json,
NAME/checkpoint_p0/checkpoint_000000001_64.pth and NAME.npz for each: `obs` [N, …] and `action`, which is
[N, …] or, for a policy with memory, [T, N, …] of T steps with `obs` [T, N, …] after one another.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import stand_ins
import torch

stand_ins.install(
    "signal_slot", "faster_fifo", "colorlog", "tensorboardX", "wandb", "psutil", "threadpoolctl",
    "huggingface_hub", "pyglet", "cv2",
)  # fmt: skip

from sample_factory.algo.utils.action_distributions import argmax_actions  # noqa: E402
from sample_factory.model.actor_critic import create_actor_critic  # noqa: E402
from sample_factory.model.model_utils import get_rnn_size  # noqa: E402
from sample_factory.utils.attr_dict import AttrDict  # noqa: E402

OBSERVED, SAMPLES, STEPS = 7, 1000, 12
IMAGE = (3, 36, 36)
BOX = gym.spaces.Box(-1, 1, (3,), np.float32)
DEFAULTS = {
    "normalize_input": True, "normalize_input_keys": None, "obs_subtract_mean": 0.0, "obs_scale": 1.0,
    "normalize_returns": True, "nonlinearity": "elu", "use_rnn": False, "rnn_type": "gru", "rnn_size": 16,
    "rnn_num_layers": 1, "encoder_mlp_layers": [32, 24], "decoder_mlp_layers": [],
    "encoder_conv_architecture": "convnet_simple", "encoder_conv_mlp_layers": [32],
    "actor_critic_share_weights": True, "adaptive_stddev": True, "continuous_tanh_scale": 0.0,
    "initial_stddev": 1.0, "policy_init_gain": 1.0, "policy_initialization": "torch_default",
}  # fmt: skip

AGENTS = {
    "fixed_spread": (BOX, {"adaptive_stddev": False, "continuous_tanh_scale": 1.5, "obs_subtract_mean": 2.0}),
    "adaptive": (BOX, {"nonlinearity": "tanh", "decoder_mlp_layers": [16], "obs_scale": 3.0}),
    "separate": (
        BOX,
        {"actor_critic_share_weights": False, "adaptive_stddev": False, "nonlinearity": "relu"},
    ),
    "discrete": (gym.spaces.Discrete(6), {"normalize_input": False}),
    "several": (gym.spaces.Tuple([gym.spaces.Discrete(3), gym.spaces.Discrete(4)]), {}),
    "gru": (BOX, {"use_rnn": True, "adaptive_stddev": False}),
    "lstm": (gym.spaces.Discrete(6), {"use_rnn": True, "rnn_type": "lstm", "rnn_num_layers": 2}),
    "image": (gym.spaces.Discrete(6), {"obs_scale": 255.0, "nonlinearity": "relu"}),
}


def main(output: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    for name, (actions, changed) in AGENTS.items():
        settings = DEFAULTS | changed
        config = AttrDict(settings)
        kind = (
            gym.spaces.Box(0, 255, IMAGE, np.uint8) if name == "image" else gym.spaces.Box(-9, 9, (OBSERVED,))
        )
        policy = create_actor_critic(config, gym.spaces.Dict(obs=kind), actions)
        policy.eval()
        for key, tensor in policy.state_dict().items():
            if key.endswith("running_mean"):
                tensor.copy_(torch.linspace(-1, 2, tensor.numel()).reshape(tensor.shape))
            elif key.endswith("running_var"):
                tensor.copy_(torch.linspace(0.01, 9, tensor.numel()).reshape(tensor.shape))
            elif tensor.dim() > 1:
                tensor.mul_(2.0)  # so that actions differ
        rows = (STEPS, SAMPLES // STEPS) if settings["use_rnn"] else (1, SAMPLES)
        shape = (*rows, *kind.shape)
        observations = (
            rng.integers(0, 256, shape, dtype=np.uint8)
            if name == "image"
            else rng.normal(0, 3, shape).astype(np.float32)
        )
        given, states = [], torch.zeros(rows[1], get_rnn_size(config))
        with torch.no_grad():
            for step in observations:
                result = policy(policy.normalize_obs({"obs": torch.from_numpy(step)}), states)
                states = result["new_rnn_states"]
                taken = argmax_actions(policy.action_distribution()).numpy()
                # of several choices Sample Factory puts those of all agents into one row, choice by choice
                given.append(taken.reshape(-1, rows[1]).T if name == "several" else taken)
        action = np.stack(given)
        if not settings["use_rnn"]:
            observations, action = observations[0], action[0]
        run = output / name / "checkpoint_p0"
        run.mkdir(parents=True)
        (run.parent / "config.json").write_text(json.dumps(settings))
        saved = {
            "train_step": 1, "env_steps": 64, "best_performance": np.float64(1.5),
            "model": policy.state_dict(), "optimizer": {}, "curr_lr": 1e-4,
        }  # fmt: skip
        torch.save(saved, run / "checkpoint_000000001_64.pth")
        np.savez(output / f"{name}.npz", obs=observations, action=action)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
