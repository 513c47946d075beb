"""A GRU or an LSTM with a plain head is rebuilt from names and shapes, and keeps its state between calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.weight_files import plain, recurrent_layers
from grandopt.compiler.program import evaluate
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError


class Policy(nn.Module):
    """A recurrent layer, and a head with an elu in it."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM], layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(5, 6, layers)
        self.head = nn.Sequential(nn.Linear(6, 7), nn.ELU(), nn.Linear(7, 2))

    def steps(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations [T, B, 5] to tanh of the scores [T, B, 2]."""
        with torch.no_grad():
            result: torch.Tensor = self.head(self.rnn(observations)[0]).tanh()
        return result


def opened(tensors: dict[str, Any], folder: Path, network: str, **settings: Any) -> Checkpoint:
    path = folder / "actor.pth"
    torch.save(tensors, path)
    return detect.load("a", AgentConfig(checkpoint=path, network=network, **settings))


def stepped(checkpoint: Checkpoint, observations: torch.Tensor) -> torch.Tensor:
    """The answers to observations [T, B, size], the state handed on from step to step."""
    kept = [torch.zeros(observations.shape[1], *spec.shape) for spec in checkpoint.inputs[1:]]
    answers = []
    for observation in observations:
        answer, *kept = evaluate(checkpoint.module, (observation, *kept))
        answers.append(answer)
    return torch.stack(answers)


@pytest.mark.parametrize(("word", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
@pytest.mark.parametrize("layers", [1, 2])
def test_it_remembers_as_the_network_does(
    tmp_path: Path, word: str, kind: type[nn.GRU | nn.LSTM], layers: int
) -> None:
    policy = Policy(kind, layers)
    checkpoint = opened(policy.state_dict(), tmp_path, f"{word}:elu,tanh")
    observations = torch.randn(12, 3, 5)
    torch.testing.assert_close(stepped(checkpoint, observations), policy.steps(observations))
    names = ["h"] if word == "gru" else ["h", "c"]
    assert [state.input for state in checkpoint.contract.state] == names
    assert [spec.name for spec in checkpoint.inputs] == ["obs", *names]
    assert checkpoint.output_names == ("output_0", *(f"{name}_next" for name in names))
    core = f"{word.upper()}(5, 6{', layers=2' if layers == 2 else ''})"
    words = f"Sequential({core}, Linear(6, 7), elu, Linear(7, 2), tanh)"
    assert checkpoint.source.details["network"] == words


def test_a_cell_and_no_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cell = nn.LSTMCell(5, 6)
    checkpoint = opened(
        {f"module.cell.{key}": value for key, value in cell.state_dict().items()}, tmp_path, "lstm:relu,tanh"
    )
    x, h, c = torch.randn(3, 5), torch.randn(3, 6), torch.randn(3, 6)
    with torch.no_grad():
        wanted, kept = cell(x, (h, c))
    answer, h_next, c_next = evaluate(checkpoint.module, (x, h.unsqueeze(1), c.unsqueeze(1)))
    torch.testing.assert_close(answer, wanted.tanh())
    torch.testing.assert_close(h_next[:, 0], wanted)
    torch.testing.assert_close(c_next[:, 0], kept)


def test_input_and_output_can_be_named(tmp_path: Path) -> None:
    inputs = [{"name": "state", "shape": [5], "low": -1, "high": 1}]
    checkpoint = opened(Policy(nn.GRU).state_dict(), tmp_path, "gru:elu", inputs=inputs, outputs=["action"])
    assert [spec.name for spec in checkpoint.inputs] == ["state", "h"]
    assert checkpoint.inputs[0].low == -1
    assert checkpoint.output_names == ("action", "h_next")


def test_weights_of_float64_stay_so(tmp_path: Path) -> None:
    checkpoint = opened(Policy(nn.LSTM).double().state_dict(), tmp_path, "lstm:elu")
    assert {spec.dtype for spec in checkpoint.inputs} == {"float64"}


def test_it_is_proposed(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    torch.save({"log_std": torch.zeros(2), **Policy(nn.LSTM).state_dict()}, path)
    (found,) = detect.describe(path)["state_dicts"]
    assert found["spells"] == "Sequential(LSTM(5, 6), Linear(6, 7), ACTIVATION, Linear(7, 2), OUTPUT)"
    assert found["network"].startswith("lstm:ACTIVATION or")
    assert found["left_out"] == ["log_std"]
    with pytest.raises(CheckpointError, match=r"which `network: lstm:ACTIVATION,OUTPUT` makes"):
        detect.load("a", AgentConfig(checkpoint=path))


def core(size: int = 5, width: int = 6, rows: int = 3) -> dict[str, torch.Tensor]:
    return {
        "rnn.weight_ih_l0": torch.zeros(rows * width, size),
        "rnn.weight_hh_l0": torch.zeros(rows * width, width),
        "rnn.bias_ih_l0": torch.zeros(rows * width),
        "rnn.bias_hh_l0": torch.zeros(rows * width),
    }


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            core(rows=4),
            r"network 'gru:…' is asked for, but its weights spell Sequential\(LSTM\(5, 6\).*lstm:elu",
        ),
        (core(rows=1), "has 6 rows for a state of 6, where a GRU has 18 and an LSTM 24"),
        ({**core(), "rnn.weight_ih_l0_reverse": torch.zeros(18, 5)}, "bidirectional or has a projection"),
        ({**core(), "other.weight_ih": torch.zeros(18, 5)}, r"holds 2 recurrent layers \(other, rnn\)"),
        (
            {**core(), "rnn.bias_hh_l0": torch.zeros(3)},
            "recurrent layer 'rnn' is no GRU in one direction: bias_hh_l0",
        ),
        ({**core(), "rnn.weight_ih_l2": torch.zeros(18, 6)}, "is no GRU"),
        ({"rnn.weight_ih_l0": torch.zeros(18, 5)}, "are missing or no matrices"),
        ({**core(), "head.weight": torch.zeros(2, 7)}, r"\(head\) do not stand behind its GRU 'rnn'"),
        ({**core(), "scale": torch.zeros(2)}, "tensor 'scale'"),
    ],
)
def test_what_is_no_such_network_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(tensors, tmp_path, "gru:elu")
    assert "\n" not in str(caught.value)


def test_layers_that_may_stand_on_either_side_are_refused() -> None:
    """An encoder of the state's width before the core looks like a head: only the order tells them apart."""
    square = core(6, 6)
    layer, last = {"enc.weight": torch.zeros(6, 6)}, {"out.weight": torch.zeros(2, 6)}
    for tensors in ({**layer, **square}, {**layer, **square, **last}):
        with pytest.raises(CheckpointError, match="without doubt"):
            plain.spelled(tensors, "f")
    behind = plain.spelled({**square, **layer, **last}, "f")
    assert behind.words("relu", "tanh") == ["GRU(6, 6)", "Linear(6, 6)", "relu", "Linear(6, 2)", "tanh"]
    with pytest.raises(CheckpointError, match=r"no plain stack|without doubt"):
        plain.spelled({**square, **layer, **last}, "f", ordered=False)
    assert plain.spelled({**last, **square}, "f").words("relu", "tanh")[-2:] == ["Linear(6, 2)", "tanh"]
    numbered = {key.replace("rnn", "net.1"): value for key, value in square.items()}
    with pytest.raises(CheckpointError, match="without doubt"):
        plain.spelled({"net.0.weight": torch.zeros(6, 6), **numbered, "net.2.weight": torch.zeros(2, 6)}, "f")


@pytest.mark.parametrize("setting", [{"state": {"h": "h_next"}}, {"stepwise": True}])
def test_a_state_besides_is_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"'state' and 'stepwise' cannot be used with 'gru:elu'"):
        opened(Policy(nn.GRU).state_dict(), tmp_path, "gru:elu", **setting)


def test_layers_that_a_file_only_claims_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object, **__: object) -> nn.Module:
        raise AssertionError("weights were made before their shapes were compared")

    made.__name__ = "GRU"
    monkeypatch.setitem(recurrent_layers.KINDS, 3, made)
    more = {f"rnn.weight_ih_l{layer}": torch.zeros(1) for layer in range(1, 100)}
    with pytest.raises(CheckpointError, match=r"no GRU in one direction: bias_hh_l1, .*, …"):
        opened({**core(), **more}, tmp_path, "gru:elu")
