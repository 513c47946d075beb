"""Whether a rebuilt policy does what its framework does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Array
from grandopt.verification.known import decisions

RANGE_SHARE = 1e-5
"""How far apart actions may be, as a share of the range that they have."""


def loaded(path: Path, **settings: Any) -> Checkpoint:
    """The agent in the file at `path`."""
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def answers(module: torch.nn.Module, found: Checkpoint, observed: Array) -> Array:
    """What `module` gives for observations [N, …], or, if it remembers, for the steps [T, N, …]."""
    with torch.no_grad():
        if not found.contract.state:
            return module(torch.from_numpy(observed)).numpy()
        sizes = {spec.name: spec.shape for spec in found.inputs}
        state = [torch.zeros(observed.shape[1], *sizes[tensor.input]) for tensor in found.contract.state]
        given = []
        for step in torch.from_numpy(observed):
            action, *state = module(step, *state)
            given.append(action.numpy())
        return np.stack(given)


def require_same(found: Checkpoint, observed: Array, wanted: Array) -> None:
    """The actions are those that the framework took, the scores lead to them, and they differ at all."""
    given = answers(found.module, found, observed)
    assert given.shape == wanted.shape
    assert len(np.unique(wanted, axis=0)) > 1
    if found.contract.action == "continuous":
        assert np.abs(given - wanted).max() <= RANGE_SHARE * np.ptp(wanted)
        return
    np.testing.assert_array_equal(given, wanted)
    assert found.scores is not None
    scores = answers(found.scores, found, observed)
    taken = decisions(found.contract, scores.reshape(-1, scores.shape[-1]))
    np.testing.assert_array_equal(taken.reshape(given.shape), given)


def refusal(path: Path, **settings: Any) -> str:
    """The one line that refuses the file at `path` with these settings."""
    try:
        loaded(path, **settings)
    except CheckpointError as error:
        line = str(error)
        assert "\n" not in line
        return line
    raise AssertionError(f"{path} was read with {settings}")
