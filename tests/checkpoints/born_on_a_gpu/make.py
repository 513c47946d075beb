"""Writes the files of this folder: agents as they are saved on a GPU, and what they answer there.

`python make.py FOLDER`, on a machine with CUDA (made with torch 2.11 on an H100). A user without a GPU is
handed such files; no machine of the tests has one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CUDA = torch.device("cuda:0")


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, outputs)
    )


class Recurrent(nn.Module):
    """Its first state is made on the device that it was traced on."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRUCell(10, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x, torch.zeros(1, 16, device=x.device).expand(x.shape[0], 16)))


class Scaled(nn.Module):
    """A constant on the GPU stands in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(10, 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.net(x)) * torch.tensor([2.0, 1.0, 0.5, 3.0], device="cuda:0")


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(10, 32, 4)
        self.register_buffer("mean", torch.linspace(-5, 50, 10))
        self.register_buffer("var", torch.linspace(0.1, 40, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.clamp((x - self.mean) * torch.rsqrt(self.var + 1e-8), -5, 5))


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(10, 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.float16, cache_enabled=False):
            return self.net(x).float()


def write(folder: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 10)
    answers = {"x": x.numpy()}

    def traced(net: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
        return torch.jit.trace(net, example)

    def scripted(net: nn.Module, _: Tensor) -> torch.jit.ScriptModule:
        return torch.jit.script(net)

    def frozen(net: nn.Module, _: Tensor) -> torch.jit.ScriptModule:
        return torch.jit.freeze(torch.jit.script(net))

    archives: dict[
        str, tuple[nn.Module, Callable[[nn.Module, Tensor], torch.jit.ScriptModule], torch.dtype]
    ] = {
        "traced_mlp": (mlp(10, 32, 4), traced, torch.float32),
        "traced_rnn": (Recurrent(), traced, torch.float32),
        "traced_const": (Scaled(), traced, torch.float32),
        "scripted_const": (Scaled(), scripted, torch.float32),
        "frozen_norm": (Normalised(), frozen, torch.float32),
        "traced_half": (mlp(10, 32, 4).half(), traced, torch.half),
        "traced_autocast": (Autocast(), traced, torch.float32),
    }
    for name, (net, form, dtype) in archives.items():
        net.to(CUDA).eval()
        example = x.to(CUDA, dtype)
        form(net, example).save(str(folder / f"{name}.pt"))
        answers[name] = net(example).detach().float().cpu().numpy()
    net = mlp(10, 32, 4).to(CUDA).eval()
    torch.save(net.state_dict(), folder / "state_dict.pth")
    torch.save(net.state_dict(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(net, folder / "module.pth")
    answers["state_dict"] = net(x.to(CUDA)).detach().cpu().numpy()
    scaled, batch = Scaled().to(CUDA).eval(), torch.export.Dim("batch", min=1)
    torch.export.save(
        torch.export.export(scaled, (x.to(CUDA),), dynamic_shapes=({0: batch},)), folder / "exported.pt2"
    )
    answers["exported"] = scaled(x.to(CUDA)).detach().cpu().numpy()
    np.savez(folder / "expected.npz", **answers)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
