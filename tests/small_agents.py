"""Small networks that cover the shapes of an agent, captured as programs."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.signature import Array


class Policy(nn.Module):
    """One input [8], one output [3]: probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(torch.relu(self.hidden(state))), dim=-1)


class Pair(nn.Module):
    """Two inputs (numbers and bytes), three outputs (scores, the decision, a value)."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Linear(6, 16)
        self.pixels = nn.Linear(4, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, state: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = torch.relu(self.numbers(state) + self.pixels(image.float().flatten(1) / 255))
        scores = self.head(hidden)
        return scores, scores.argmax(dim=-1), hidden.sum(dim=-1, keepdim=True)


class Recurrent(nn.Module):
    """An LSTM over [5, 4], and a linear head [2]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(window)
        return self.head(out[:, -1])


class Borrowing(nn.Module):
    """Outputs that a caller would not own: the input, a weight, shared views, one number spread out."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.register_buffer("table", torch.arange(4.0).reshape(1, 4))

    def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = self.head(state)
        one = torch.ones_like(state[:, :1])
        return state, hidden, hidden[:, :2], one.expand(-1, 3), self.table.expand(state.shape[0], -1)


class Scribbling(nn.Module):
    """Writes into what it is given."""

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return state.mul_(2.0) + 1.0


class Branching(nn.Module):
    """Goes another way when the data says so: neither a trace nor an export holds."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        scores = self.head(state)
        if float(state.sum()) > 0:
            return scores
        return -scores


EXAMPLES: dict[type[nn.Module], dict[str, Array]] = {
    Policy: {"state": np.zeros((2, 8), np.float32)},
    Pair: {"state": np.zeros((2, 6), np.float32), "image": np.zeros((2, 2, 2), np.uint8)},
    Recurrent: {"window": np.zeros((2, 5, 4), np.float32)},
    Borrowing: {"state": np.zeros((2, 4), np.float32)},
    Scribbling: {"state": np.zeros((2, 4), np.float32)},
    Branching: {"state": np.zeros((2, 4), np.float32)},
}


@cache
def program(kind: type[nn.Module]) -> Program:
    """The captured program of one of the networks above, with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = kind()
    return capture(from_module(kind.__name__.lower(), module, EXAMPLES[kind]), 0)


def draw(of: Program, batch: int, seed: int = 0) -> list[Array]:
    """Inputs as `Executor.run` takes them."""
    generator = np.random.default_rng(seed)
    arrays = []
    for spec in of.signature.inputs:
        shape = (batch, *spec.shape)
        if spec.dtype == "uint8":
            arrays.append(generator.integers(0, 256, shape, dtype=np.uint8))
        else:
            arrays.append(generator.standard_normal(shape).astype(spec.dtype))
    return arrays


def expected(of: Program, inputs: list[Array]) -> tuple[Array, ...]:
    """What the original module gives."""
    with torch.no_grad():
        result = of.module(*(torch.from_numpy(array.copy()) for array in inputs))
    return tuple(output.numpy().copy() for output in (result if isinstance(result, tuple) else (result,)))
