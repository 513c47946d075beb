"""Small networks that capture must take, and ones that it must refuse; and how to make them checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.signature import TensorSpec


def checkpoint(module: nn.Module, *shapes: tuple[int, ...], **fields: object) -> Checkpoint:
    """A checkpoint of an in-memory module with inputs in_0 … of the given shapes."""
    if not isinstance(module, torch.jit.ScriptModule):
        module.requires_grad_(False)
    specs = tuple(TensorSpec(f"in_{index}", shape) for index, shape in enumerate(shapes))
    return Checkpoint(
        name="agent",
        module=module.eval(),
        inputs=specs,
        source=Source(format="module", weights="memory"),
        **fields,  # type: ignore[arg-type]
    )


class Policy(nn.Module):
    """Nothing special."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state)


class SignBranch(Policy):
    """Takes another way when the sum of the batch is positive."""

    def forward(self, state: Tensor) -> Tensor:
        if state.sum() > 0:
            return self.net(state)
        return self.net(-state)


class RareBranch(Policy):
    """Takes another way only for sums that no draw of ours reaches."""

    def forward(self, state: Tensor) -> Tensor:
        if state.sum() > 1e30:
            return self.net(-state)
        return self.net(state)


class NumberFromData(Policy):
    """Takes a number out of the tensors: torch.export keeps track of it, a trace does not."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state) * state.abs().amax().item()


class PythonSize(Policy):
    """Uses the batch size as a Python number."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state.reshape(int(state.shape[0]), -1))


class PythonState(nn.Module):
    """Gives its LSTM a state whose batch is a Python number: a trace of it would read out of bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, steps: Tensor) -> Tensor:
        state = torch.zeros(1, int(steps.shape[0]), 3)
        return self.lstm(steps, (state, state))[0]


class SizeBranch(Policy):
    """Takes another way for large batches."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state) * (2 if state.shape[0] > 64 else 1)


class ChecksItsInput(Policy):
    """Looks at the shape of its input in Python, which is harmless."""

    def forward(self, state: Tensor) -> Tensor:
        assert state.shape[-1] == 8
        return self.net(state)


class FixedPair(Policy):
    """Made for two observations, and no other number."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state.view(2, 8))


class FixedSingle(Policy):
    """Made for one observation."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state.view(1, 8))


class Unsteady(nn.Module):
    """Draws random numbers."""

    def forward(self, state: Tensor) -> Tensor:
        return state + torch.rand_like(state)


class WritesItsInput(Policy):
    """Scales its input in place."""

    def forward(self, state: Tensor) -> Tensor:
        return self.net(state.mul_(2.0))


class Star(nn.Module):
    """Takes its inputs as *args, as wrappers of Dict observations do."""

    def forward(self, *states: Tensor) -> Tensor:
        return torch.cat(states, dim=-1)
