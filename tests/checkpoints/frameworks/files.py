"""Checkpoints written to the layouts that frameworks document, with seeded weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

Content = dict[str, Any]


def seeded(make: Any, seed: int = 0) -> Any:
    """What `make()` gives, with weights drawn from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def mlp(*sizes: int, between: type[nn.Module] = nn.ELU, seed: int = 0) -> nn.Sequential:
    """Linear layers of these sizes with `between` between them."""
    layers: list[nn.Module] = []
    for taken, given in pairwise(sizes):
        layers += [nn.Linear(taken, given), between()]
    made: nn.Sequential = seeded(lambda: nn.Sequential(*[_again(layer) for layer in layers[:-1]]), seed)
    return made


def _again(layer: nn.Module) -> nn.Module:
    """A layer of the same kind, drawn anew."""
    return nn.Linear(layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else layer


def named(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors of a module under names that begin with "`prefix`."."""
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def observations(size: int, count: int = 1000, seed: int = 1) -> torch.Tensor:
    """Seeded observations [count, size]."""
    return 3 * torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def statistics(size: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Seeded mean and variance [size], float32, no variance below a hundredth."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator), 0.01 + torch.rand(size, generator=generator)


def rsl_rl_statistics(size: int) -> dict[str, torch.Tensor]:
    """The state of an `EmpiricalNormalization` [1, size]."""
    mean, var = statistics(size)
    return {"_mean": mean[None], "_var": var[None], "_std": var.sqrt()[None], "count": torch.tensor(4096)}


def rsl_rl(policy: dict[str, torch.Tensor], key: str = "model_state_dict", **more: Any) -> Content:
    """What a runner of RSL-RL saves, with the state dict of its policy at `key`."""
    optimizer: Content = {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    return {key: policy, "optimizer_state_dict": optimizer, "iter": 1500, "infos": None, **more}


def saved(content: Any, path: Path) -> Path:
    """The file that `torch.save` makes of it."""
    torch.save(content, path)
    return path


def rl_games(
    network: dict[str, torch.Tensor], scaled: dict[str, torch.Tensor] | None = None, **more: Any
) -> Content:
    """What an agent of rl_games saves; `scaled` are the statistics in its model."""
    held = {f"running_mean_std.{name}": tensor for name, tensor in (scaled or {}).items()}
    model = {f"a2c_network.{name}": tensor for name, tensor in network.items()}
    counts = {"epoch": 3, "frame": 900, "optimizer": {}, "last_mean_rewards": -100500, "env_state": None}
    return {"model": {**held, **model}, **counts, **more}


def rl_games_statistics(size: int) -> dict[str, torch.Tensor]:
    """The state of a `RunningMeanStd`."""
    mean, var = statistics(size)
    return {"running_mean": mean.double(), "running_var": var.double(), "count": torch.tensor(9.0).double()}


def skrl(policy: dict[str, torch.Tensor], **more: Any) -> Content:
    """What an agent of skrl saves."""
    value = named(mlp(3, 1), "net_container")
    return {"policy": policy, "value": value, "optimizer": {"state": {}, "param_groups": []}, **more}


def skrl_statistics(size: int) -> dict[str, torch.Tensor]:
    """The state of a `RunningStandardScaler`."""
    mean, var = statistics(size)
    count = torch.tensor(9.0).double()
    return {"running_mean": mean.double(), "running_variance": var.double(), "current_count": count}
