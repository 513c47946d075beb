"""Recurrent policies as users write them, and what their weights give over whole sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.signature import Array

OBSERVED, HIDDEN, ACTIONS = 5, 12, 3
LAYERS_FIRST = {
    "h": {"output": "h_next", "batch_axis": 1},
    "c": {"output": "c_next", "batch_axis": 1},
}


class LstmPolicy(nn.Module):
    """`nn.LSTM`, with its state as the tuple that PyTorch has, layers first; and over sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(OBSERVED, HIDDEN, num_layers=2, batch_first=True)
        self.head = nn.Linear(HIDDEN, ACTIONS)

    def forward(
        self, obs: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        out, state = self.lstm(obs.unsqueeze(1), state)
        return self.head(out[:, 0]), state

    def whole(self, sequence: torch.Tensor) -> torch.Tensor:
        """[B, T, observed] to [B, T, actions]."""
        return self.head(self.lstm(sequence)[0])


class GruPolicy(nn.Module):
    """`nn.GRU`, its state a tensor [layers, B, hidden]."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(OBSERVED, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, ACTIONS)

    def forward(self, obs: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out, h = self.gru(obs.unsqueeze(1), h)
        return self.head(out[:, 0]), h

    def whole(self, sequence: torch.Tensor) -> torch.Tensor:
        """[B, T, observed] to [B, T, actions]."""
        return self.head(self.gru(sequence)[0])


class LstmCellPolicy(nn.Module):
    """`nn.LSTMCell`, its state two tensors [B, hidden]."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(OBSERVED, HIDDEN)
        self.head = nn.Linear(HIDDEN, ACTIONS)

    def forward(
        self, obs: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h, c = self.cell(obs, (h, c))
        return self.head(h), h, c

    def whole(self, sequence: torch.Tensor) -> torch.Tensor:
        """[B, T, observed] to [B, T, actions], by an LSTM with the cell's weights."""
        lstm = nn.LSTM(OBSERVED, HIDDEN, batch_first=True)
        lstm.load_state_dict({f"{key}_l0": value for key, value in self.cell.state_dict().items()})
        return self.head(lstm(sequence)[0])


class GruCellPolicy(nn.Module):
    """`nn.GRUCell`, whose state is given before the action."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(OBSERVED, HIDDEN)
        self.head = nn.Linear(HIDDEN, ACTIONS)

    def forward(self, h: torch.Tensor, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.cell(obs, h)
        return h, self.head(h)

    def whole(self, sequence: torch.Tensor) -> torch.Tensor:
        """[B, T, observed] to [B, T, actions], by a GRU with the cell's weights."""
        gru = nn.GRU(OBSERVED, HIDDEN, batch_first=True)
        gru.load_state_dict({f"{key}_l0": value for key, value in self.cell.state_dict().items()})
        return self.head(gru(sequence)[0])


class Sequence(nn.Module):
    """Reads a whole window, as it was trained: its last step's action, and an output of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(OBSERVED, 8)
        self.lstm = nn.LSTM(8, HIDDEN, num_layers=2, batch_first=True)
        self.gru = nn.GRU(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, ACTIONS)

    def forward(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, _ = self.lstm(torch.relu(self.embed(window)))
        second, last = self.gru(first.transpose(0, 1))
        return self.head(last[-1]), self.head(second.transpose(0, 1))


State = Mapping[str, Any]
KINDS: dict[type[nn.Module], tuple[dict[str, tuple[int, ...]], State, tuple[str, ...]]] = {
    LstmPolicy: ({"obs": (2, OBSERVED), "h": (2, 2, HIDDEN), "c": (2, 2, HIDDEN)}, LAYERS_FIRST, ()),
    GruPolicy: (
        {"obs": (2, OBSERVED), "h": (1, 2, HIDDEN)},
        {"h": {"output": "h_next", "batch_axis": 1}},
        (),
    ),
    LstmCellPolicy: (
        {"obs": (2, OBSERVED), "h": (2, HIDDEN), "c": (2, HIDDEN)},
        {"h": "h_next", "c": "c_next"},
        (),
    ),
    GruCellPolicy: (
        {"h": (2, HIDDEN), "obs": (2, OBSERVED)},
        {"h": "h_next"},
        ("h_next", "action"),
    ),
}


def made(kind: type[nn.Module]) -> Any:
    """The network with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return kind().eval()


@cache
def program(kind: type[nn.Module]) -> Program:
    """The captured program of one of the policies above."""
    shapes, state, outputs = KINDS[kind]
    example = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    checkpoint = from_module(kind.__name__.lower(), made(kind), example, state=state, outputs=outputs)
    return capture(checkpoint)


def observations(steps: int, batch: int, seed: int = 0) -> Array:
    """[steps, batch, observed], float32."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((steps, batch, OBSERVED)).astype(np.float32)


def whole(kind: type[nn.Module], observed: Array) -> Array:
    """The actions [steps, batch, actions] of the whole sequence at once, in float64."""
    network = made(kind).double()
    with torch.no_grad(), _float64():
        found = network.whole(torch.from_numpy(observed).double().transpose(0, 1))
    return found.transpose(0, 1).numpy()


@contextmanager
def _float64() -> Iterator[None]:
    """Layers made inside are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
