"""How a state is declared: in Python, in a configuration file, and what is said of a wrong declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.load import load_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import ConfigError, InputError, SignatureError
from tests.recurrent.networks import (
    HIDDEN,
    LAYERS_FIRST,
    OBSERVED,
    GruCellPolicy,
    LstmCellPolicy,
    LstmPolicy,
    made,
)

EXAMPLE = {
    "obs": np.zeros((2, OBSERVED), np.float32),
    "h": np.zeros((2, HIDDEN), np.float32),
    "c": np.zeros((2, HIDDEN), np.float32),
}
INPUTS = [
    {"name": "obs", "shape": [OBSERVED]},
    {"name": "h", "shape": [HIDDEN]},
    {"name": "c", "shape": [HIDDEN]},
]
FLAT = {"h": "h_next", "c": "c_next"}


def test_the_state_is_the_last_of_the_outputs() -> None:
    program = capture(from_module("a", made(LstmCellPolicy), EXAMPLE, state=FLAT))
    assert [spec.name for spec in program.signature.outputs] == ["output_0", "h_next", "c_next"]
    assert [(tensor.input, tensor.output) for tensor in program.contract.state] == [*FLAT.items()]


def test_outputs_can_be_named_or_keep_their_usual_names() -> None:
    example = {name: EXAMPLE[name] for name in ("h", "obs")}
    named = from_module("a", made(GruCellPolicy), example, state={"h": "next"}, outputs=("next", "action"))
    assert named.output_names == ("next", "action")
    usual = from_module("a", made(GruCellPolicy), example, state={"h": "output_0"})
    assert usual.output_names == ("output_0", "output_1")


def test_outputs_can_be_named_without_a_state() -> None:
    checkpoint = from_module("a", nn.Linear(3, 2), np.zeros((2, 3), np.float32), outputs=("scores",))
    assert capture(checkpoint).signature.outputs[0].name == "scores"


def test_the_initial_value_goes_into_the_contract() -> None:
    values = [float(number) for number in range(HIDDEN)]
    state = {"h": {"output": "h_next", "initial": values}, "c": {"output": "c_next", "initial": 0.5}}
    program = capture(from_module("a", made(LstmCellPolicy), EXAMPLE, state=state))
    assert [tensor.initial for tensor in program.contract.state] == [tuple(values), 0.5]


@pytest.mark.parametrize(
    ("state", "outputs", "message"),
    [
        ({"x": "h_next"}, (), "there is no such input; the inputs are obs, h, c"),
        ({"h": "y"}, ("a", "b", "d"), "there is no output 'y'"),
        ({"h": "h_next"}, ("a", "h_next"), "2 output names for 3 output"),
        ({"h": {"output": "h_next", "batch_axis": 2}, "c": "c_next"}, (), "batch_axis 2 is beyond"),
        ({"h": {"output": "h_next", "initial": [1.0]}, "c": "c_next"}, (), "'initial' holds 1 numbers"),
        ({"h": "z", "c": "z"}, ("a", "z", "b"), "two states are fed from one output"),
        ({"h": "a", "c": "c"}, ("a", "b", "c"), r"the input is float32 \[12\], the output 'a'"),
        ({"obs": "a", "h": "b", "c": "c"}, ("a", "b", "c"), r"\[5\], the output 'a' is"),
    ],
)
def test_a_wrong_declaration_is_refused(state: Any, outputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        capture(from_module("a", made(LstmCellPolicy), EXAMPLE, state=state, outputs=outputs))


@pytest.mark.parametrize(
    ("state", "stepwise", "message"),
    [
        ({"h": {"next": "h_next"}}, False, r"state.h.output: Field required"),
        ({"h": 3}, False, r"state.h"),
        ({"h": {"output": "h_next", "batch_axis": -1}}, False, r"state.h.batch_axis"),
        ({"h": "h_next"}, True, "'stepwise' finds the state itself"),
    ],
)
def test_nonsense_is_a_configuration_error(state: Any, stepwise: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_module("a", made(LstmCellPolicy), EXAMPLE, state=state, stepwise=stepwise)


def test_a_tuple_of_states_must_come_last() -> None:
    example = {
        "h": np.zeros((2, 2, HIDDEN), np.float32),
        "c": np.zeros((2, 2, HIDDEN), np.float32),
        "obs": EXAMPLE["obs"],
    }
    with pytest.raises(SignatureError, match="as one tuple after the observations"):
        from_module("a", made(LstmPolicy), example, state=LAYERS_FIRST)


def test_states_that_do_not_fit_the_network_are_named() -> None:
    with pytest.raises(SignatureError, match=r"does not take obs \[2, 5\], h \[2, 4\], c \[2, 12\]"):
        from_module("a", made(LstmCellPolicy), {**EXAMPLE, "h": np.zeros((2, 4), np.float32)}, state=FLAT)


def test_the_files_short_and_long_forms(tmp_path: Path) -> None:
    file = tmp_path / "grandopt.yaml"
    file.write_text(
        "agents:\n  a:\n    checkpoint: a.pth\n    outputs: [action, h_next, c_next]\n"
        "    state:\n      h: h_next\n      c: {output: c_next, batch_axis: 1, initial: 0.5}\n"
    )
    agent = load_file(file).agents["a"]
    assert agent.outputs == ("action", "h_next", "c_next")
    assert [(key, item.output, item.batch_axis, item.initial) for key, item in agent.state.items()] == [
        ("h", "h_next", 0, 0.0),
        ("c", "c_next", 1, 0.5),
    ]
    file.write_text("agents:\n  a:\n    checkpoint: a.pth\n    state:\n      h: {outputs: h_next}\n")
    with pytest.raises(ConfigError, match=r"grandopt.yaml:5.*agents.a.state.h.*output"):
        load_file(file)
    file.write_text("agents:\n  a: {reference: decision_gate, stepwise: true}\n")
    with pytest.raises(ConfigError, match="cannot be used with a reference agent"):
        load_file(file)


def _config(path: Path, **fields: Any) -> AgentConfig:
    return AgentConfig.model_validate({"checkpoint": path, "inputs": INPUTS, "state": FLAT, **fields})


def test_state_dicts_and_safetensors(tmp_path: Path) -> None:
    network = "tests.recurrent.networks:LstmCellPolicy"
    tensors = made(LstmCellPolicy).state_dict()
    torch.save(tensors, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        program = capture(detect.load("a", _config(tmp_path / name, network=network)))
        assert [tensor.input for tensor in program.contract.state] == ["h", "c"]
        assert program.exported is not None


def test_layers_first_in_a_file(tmp_path: Path) -> None:
    torch.save(made(LstmPolicy).state_dict(), tmp_path / "a.pth")
    inputs = [INPUTS[0], *({"name": name, "shape": [2, HIDDEN]} for name in ("h", "c"))]
    config = _config(
        tmp_path / "a.pth",
        network="tests.recurrent.networks:LstmPolicy",
        inputs=inputs,
        state=LAYERS_FIRST,
    )
    program = capture(detect.load("a", config))
    assert [spec.shape for spec in program.signature.outputs] == [(3,), (2, HIDDEN), (2, HIDDEN)]


def test_archives_and_exported_programs(tmp_path: Path) -> None:
    policy, example = made(LstmCellPolicy), tuple(torch.from_numpy(value) for value in EXAMPLE.values())
    with torch.no_grad():
        torch.jit.save(torch.jit.script(policy), tmp_path / "a.pt")
        batch = {0: torch.export.Dim("batch", min=1)}
        torch.export.save(
            torch.export.export(policy, example, dynamic_shapes=(batch,) * 3), tmp_path / "a.pt2"
        )
    for config in (
        _config(tmp_path / "a.pt"),
        _config(tmp_path / "a.pt2", inputs=()),
    ):
        program = capture(detect.load("a", config))
        assert [tensor.output for tensor in program.contract.state] == ["h_next", "c_next"]


def test_an_archive_with_its_layers_first_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(made(LstmCellPolicy)), path)
    state = {"h": {"output": "h_next", "batch_axis": 1}, "c": "c_next"}
    with pytest.raises(SignatureError, match="take and give it with the batch first"):
        detect.load("a", _config(path, state=state))


def test_an_sb3_zip_has_its_own_state(tmp_path: Path) -> None:
    from tests.checkpoints import sb3_zips as zips

    path = zips.write_zip(tmp_path / "a.zip", None, zips.box(-1, 1, (4,)), zips.discrete(2), {})
    with pytest.raises(InputError, match="'state' cannot be used with an SB3 zip"):
        detect.load("a", AgentConfig.model_validate({"checkpoint": path, "state": FLAT}))
