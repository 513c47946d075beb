"""Networks of `c_level` as a job of `grandopt`, with recorded observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml

from tests.native.c_level.networks import NETWORKS, seeded

OBSERVATIONS = 1024


def write_job(folder: Path, names: Mapping[str, str]) -> Path:
    """A `grandopt.yaml` in `folder` with these networks by agent, with weights and observations."""
    folder.mkdir(parents=True, exist_ok=True)
    agents = {}
    for agent, name in names.items():
        shape = NETWORKS[name].shape
        torch.save(seeded(name).state_dict(), folder / f"{agent}.pth")
        recorded = np.random.default_rng(5).standard_normal((OBSERVATIONS, *shape)).astype(np.float32)
        np.savez(folder / f"{agent}.npz", state=recorded)
        agents[agent] = {
            "checkpoint": f"{agent}.pth",
            "network": f"{seeded.__module__}:{seeded.__name__}",
            "network_args": {"name": name},
            "inputs": [{"name": "state", "shape": list(shape)}],
            "samples": f"{agent}.npz",
        }
    config = folder / "grandopt.yaml"
    config.write_text(yaml.safe_dump({"agents": agents}, sort_keys=False))
    return config
