"""Zips of sb3-contrib's MaskablePPO and CrossQ, and what their `predict` gives: `sb3_contrib_2.py OUTPUT`.

Writes NAME.zip and NAME.npz: each observation under its input's name, `action_masks`, and `action`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stand_ins
import torch
from gymnasium import spaces

stand_ins.install("pandas", "matplotlib", "psutil")

from sb3_contrib import CrossQ, MaskablePPO  # noqa: E402

COUNT = 1000
BOX = spaces.Box(-2, 2, (5,), np.float32)
BOTH = spaces.Dict(a=BOX, b=spaces.Discrete(3))
SMALL: dict[str, Any] = {"net_arch": [32, 24]}

MASKED = {
    "discrete": (BOX, spaces.Discrete(6), 6),
    "multi_discrete": (BOX, spaces.MultiDiscrete([3, 4]), 7),
    "multi_binary": (BOX, spaces.MultiBinary(4), 8),
    "dict": (BOTH, spaces.Discrete(6), 6),
}
CROSSQ: dict[str, dict[str, Any]] = {
    "crossq": {"policy_kwargs": SMALL},
    "crossq_sde": {"policy_kwargs": SMALL, "use_sde": True},
    "crossq_plain": {"policy_kwargs": {**SMALL, "batch_norm": False}},
    "crossq_epsilon": {"policy_kwargs": {**SMALL, "batch_norm_eps": 0.01, "activation_fn": torch.nn.Tanh}},
}


class Environment(gym.Env):
    """Spaces, and nothing that happens in them."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}


def disturbed(model: Any) -> None:
    """Away from the first values, statistics of layers included."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in model.policy.state_dict().items():
            if name.endswith("ra_var"):
                tensor.uniform_(0.2, 3.0, generator=generator)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.3)


def main(output: Path) -> None:
    rng = np.random.default_rng(0)
    observed = rng.uniform(-2, 2, (COUNT, 5)).astype(np.float32)
    for name, (observation_space, action_space, scores) in MASKED.items():
        policy = "MultiInputPolicy" if name == "dict" else "MlpPolicy"
        model = MaskablePPO(
            policy, Environment(observation_space, action_space), policy_kwargs=SMALL, device="cpu"
        )
        disturbed(model)
        model.save(output / name)
        given: Any = {"a": observed, "b": rng.integers(0, 3, COUNT)} if name == "dict" else observed
        masks = rng.random((COUNT, scores)) < 0.5
        masks[:5] = False
        action, _ = model.predict(given, deterministic=True, action_masks=masks)
        parts = given if name == "dict" else {"observation": given}
        np.savez(output / f"{name}.npz", action_masks=masks, action=action, **parts)
    for name, settings in CROSSQ.items():
        actions = spaces.Box(-2, 3, (2,), np.float32)
        model = CrossQ("MlpPolicy", Environment(BOX, actions), buffer_size=10, device="cpu", **settings)
        disturbed(model)
        model.save(output / name)
        action, _ = model.predict(observed, deterministic=True)
        np.savez(output / f"{name}.npz", observation=observed, action=action)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
