"""Artifacts whose answers say which of them gave them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions, TorchScriptOptions

OPTIONS = {"torchscript": TorchScriptOptions(), "native": NativeOptions()}


class Scaled(nn.Module):
    """x → factor · x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(float(factor)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


@cache
def scaled(factor: float, width: int = 4, engine: str = "torchscript") -> Artifact:
    """The artifact of x [width] → factor · x, built once in a process."""
    example = {"x": np.zeros((2, width), np.float32)}
    program = capture(from_module("scaled", Scaled(factor), example), 0)
    store = Store(Path(tempfile.mkdtemp(prefix="grandopt-test-")))
    return build(program, Candidate("float32", OPTIONS[engine]), store)


def put(artifact: Artifact, folder: Path) -> Path:
    """Write an artifact to a folder, in the place of what is there."""
    return write(folder, artifact.manifest, artifact.payloads()).path
