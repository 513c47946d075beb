"""Networks over whole sequences become stepwise agents, where that is the same agent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.schema import AgentConfig
from grandopt.errors import SignatureError
from grandopt.runtime.loader import load
from tests.native.conftest import BEST
from tests.recurrent.networks import OBSERVED, Sequence, made, observations

STEPS = 20
WINDOW = np.zeros((2, STEPS, OBSERVED), np.float32)


class Initial(nn.Module):
    """Makes its initial state itself: zeros, or something else."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.gru = nn.GRU(OBSERVED, 6, batch_first=True)
        self.value = value

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        begin = torch.full((1, window.size(0), 6), self.value, dtype=window.dtype)
        return self.gru(window, begin)[0][:, -1]


class Ones(Initial):
    """Begins with ones, which the rewriting does not know."""

    def __init__(self) -> None:
        super().__init__(1.0)


class Bidirectional(nn.Module):
    """Reads from both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(OBSERVED, 6, batch_first=True, bidirectional=True)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.lstm(window)[0][:, -1]


class Averaging(nn.Module):
    """Looks at all steps after its LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(OBSERVED, 6, batch_first=True)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.lstm(window)[0].mean(dim=1)


class Branching(nn.Module):
    """Its way depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(OBSERVED, 6, batch_first=True)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.lstm(window)[0][:, -1] if window.sum() > 0 else window[:, -1, :1]


class Flat(nn.Module):
    """Takes one length only, and has no recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(STEPS * OBSERVED, 2)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.head(window.flatten(1))


class Pointwise(nn.Module):
    """Remembers nothing."""

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return window[:, -1] * 2


def test_stepping_gives_what_the_whole_sequence_gives(tmp_path: Path) -> None:
    network = made(Sequence)
    program = capture(from_module("sequence", network, WINDOW, stepwise=True))
    assert [spec.shape for spec in program.signature.inputs] == [(OBSERVED,), (2, 12), (2, 12), (1, 12)]
    assert "in float64" in program.source.details["stepwise"]
    executor = load(build(program, Candidate("float32", BEST), Store(tmp_path)).path)
    network = network.double()
    for batch in (1, 3):
        session, observed = executor.session(batch), observations(60, batch)
        with torch.no_grad():
            last, every = network(torch.from_numpy(observed).double().transpose(0, 1))
        for step, row in enumerate(observed):
            action, each = session(row)
            np.testing.assert_allclose(action, each, rtol=0, atol=1e-6)
            np.testing.assert_allclose(each, every[:, step].numpy(), rtol=0, atol=2e-6)
        np.testing.assert_allclose(action, last.numpy(), rtol=0, atol=2e-6)


def test_zeros_that_a_network_makes_itself_are_the_initial_state() -> None:
    checkpoint = from_module("a", made(Initial), WINDOW, stepwise=True)
    assert [tensor.input for tensor in checkpoint.contract.state] == ["gru_h"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Bidirectional, "'lstm' is bidirectional"),
        (Averaging, r"after 2 step\(s\) output 0 is not that of the whole sequence"),
        (Ones, r"after 1 step\(s\) output 0 is not that of the whole sequence"),
        (Branching, "cannot be rewritten"),
        (Flat, "does not take sequences of 20 and of 19 steps"),
        (Pointwise, "has no recurrent layer"),
    ],
)
def test_what_is_another_agent_is_refused(kind: type[nn.Module], message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        from_module("a", made(kind), WINDOW, stepwise=True)


def test_inputs_must_be_sequences_of_one_length() -> None:
    with pytest.raises(SignatureError, match="must be a sequence"):
        from_module("a", made(Sequence), np.zeros((2, 1, OBSERVED), np.float32), stepwise=True)


def test_from_a_file(tmp_path: Path) -> None:
    torch.save(made(Sequence).state_dict(), tmp_path / "a.pth")
    config = {
        "checkpoint": tmp_path / "a.pth",
        "network": "tests.recurrent.networks:Sequence",
        "inputs": [{"name": "window", "shape": [STEPS, OBSERVED]}],
        "stepwise": True,
    }
    checkpoint = detect.load("a", AgentConfig.model_validate(config))
    assert checkpoint.observed.inputs[0].shape == (OBSERVED,)
    assert len(checkpoint.contract.state) == 3


def test_an_archive_cannot_be_rewritten(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(made(Averaging)), tmp_path / "a.pt")
    config = {
        "checkpoint": tmp_path / "a.pt",
        "inputs": [{"name": "window", "shape": [STEPS, OBSERVED]}],
        "stepwise": True,
    }
    with pytest.raises(SignatureError, match="archive cannot be rewritten"):
        detect.load("a", AgentConfig.model_validate(config))
