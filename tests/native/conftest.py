"""Building and loading native artifacts in tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.levels import levels_for, of_architecture
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load

Make = Callable[..., Executor]

LEVELS = [level.name for level in levels_for(architecture()) if cpu_features().issuperset(level.features)]
"""The feature levels of this machine for weights of float32, the most demanding first."""
REDUCED = [
    level.name for level in of_architecture(architecture()) if cpu_features().issuperset(level.features)
]
"""All that it has, of which the others serve weights of reduced precision."""
BEST = NativeOptions(levels=(LEVELS[0],))
"""One level instead of all: half the compilation."""


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`native(module, example, options=…)`: the loaded native artifact of a network."""
    store = Store(tmp_path_factory.mktemp("native"))

    def make(
        module: nn.Module, *example: torch.Tensor, name: str = "agent", options: NativeOptions | None = None
    ) -> Executor:
        program = capture(from_module(name, module, example), 0)
        return load(build(program, Candidate("float32", options or BEST), store).path)

    return make
