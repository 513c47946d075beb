"""The original as a function of a list of observations: what the other ways of serving compute with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch

from grandopt.signature import Array
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import ServedAgent

Answers = list[tuple[Array, ...]]
Compute = Callable[[Sequence[Array]], Answers]


def network(agent: ServedAgent, kind: str) -> torch.nn.Module:
    """The original in eval mode, as "eager" modules or as frozen "torchscript"."""
    torch.set_num_threads(1)
    if kind == names.SCRIPT:
        loaded: torch.nn.Module = torch.jit.load(str(agent.script))
        return loaded
    module, _, name = agent.network.partition(":")
    made: torch.nn.Module = getattr(import_module(module), name)()
    made.load_state_dict(torch.load(agent.weights, weights_only=True))
    return made.eval().requires_grad_(False)


def batches(agent: ServedAgent, kind: str) -> Compute:
    """Computes all observations of a list as one batch."""
    module = network(agent, kind)

    def compute(observations: Sequence[Array]) -> Answers:
        with torch.inference_mode():
            given = module(torch.from_numpy(np.stack(observations)))
        return list(zip(*_arrays(given), strict=True))

    return compute


def one_by_one(agent: ServedAgent, kind: str) -> Callable[[Array], tuple[Array, ...]]:
    """Computes one observation."""
    module = network(agent, kind)

    def compute(observation: Array) -> tuple[Array, ...]:
        with torch.inference_mode():
            given = module(torch.from_numpy(observation[None]))
        return tuple(values[0] for values in _arrays(given))

    return compute


def _arrays(given: Any) -> list[Array]:
    return [tensor.numpy() for tensor in (given if isinstance(given, tuple) else (given,))]
