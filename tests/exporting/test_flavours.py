"""The names and layouts of hosts: each file, asked as its host asks it, answers as the agent does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.compiler.checkpoints.onnx import reader
from grandopt.compiler.program import Program, evaluate
from grandopt.config.schema import AgentConfig
from grandopt.errors import ConfigError
from grandopt.signature import Contract, Signature
from grandopt.workflows.exporting.onnx.document import document, opset
from grandopt.workflows.exporting.onnx.executors import in_onnxruntime, read_back
from grandopt.workflows.exporting.onnx.flavours import MLAGENTS_VERSION, Flavour, formed
from grandopt.workflows.exporting.onnx.narrowed import narrowed
from tests.recurrent import networks
from tests.small_agents import Pair, Policy, draw, program

onnx = pytest.importorskip("onnx", reason="skipped: onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="skipped: onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="skipped: onnxscript is not installed")


_tensor = torch.from_numpy


class _Started(torch.nn.Module):
    """A GRU cell that forgets its state where an episode begins."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: torch.Tensor, x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.inner((1.0 - start).unsqueeze(1) * h, x)


def opened(of: Program, flavour: Flavour) -> tuple[Any, bytes]:
    chosen, form = formed(of, flavour)
    content = document(chosen, form, {}, "0")
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]), content


def sides(session: Any) -> tuple[dict[str, list], dict[str, list]]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return {item.name: item.shape for item in inputs}, {item.name: item.shape for item in outputs}


@pytest.mark.parametrize("kind", [networks.LstmPolicy, networks.LstmCellPolicy])
def test_isaaclab_has_the_layers_of_the_state_first(kind: type) -> None:
    of = networks.program(kind)
    session, _ = opened(of, "isaaclab")
    layers, width = 2 if kind is networks.LstmPolicy else 1, networks.HIDDEN
    state = [layers, 1, width]
    assert sides(session) == (
        {"obs": [1, networks.OBSERVED], "h_in": state, "c_in": state},
        {"actions": [1, networks.ACTIONS], "h_out": state, "c_out": state},
    )
    obs, h, c = draw(of, 1)
    first = [h, c] if kind is networks.LstmCellPolicy else [np.moveaxis(part, 1, 0) for part in (h, c)]
    given = [part[np.newaxis] if part.ndim == 2 else np.ascontiguousarray(part) for part in first]
    action, h_out, c_out = session.run(None, {"obs": obs, "h_in": given[0], "c_in": given[1]})
    wanted = [output.numpy() for output in evaluate(of.module, [*map(_tensor, (obs, h, c))])]
    np.testing.assert_allclose(action, wanted[0], atol=1e-5)
    for found, state_out in zip((h_out, c_out), wanted[1:], strict=True):
        np.testing.assert_allclose(np.moveaxis(found, 0, 1).reshape(state_out.shape), state_out, atol=1e-5)


@pytest.mark.slow
def test_a_file_of_one_row_is_asked_row_by_row_and_read_back(tmp_path: Path) -> None:
    """Of two layers: the state's first axis is no 1."""
    chosen, form = formed(networks.program(networks.LstmPolicy), "isaaclab")
    content = document(chosen, form, {}, "0")
    (tmp_path / "agent.onnx").write_bytes(content)
    inputs = draw(chosen, 3)
    wanted = [output.numpy() for output in evaluate(chosen.module, [*map(_tensor, inputs)])]
    for executor in (
        in_onnxruntime(content, chosen, form)[0],
        read_back(tmp_path / "agent.onnx", chosen, form),
    ):
        for found, output in zip(executor.run(inputs), wanted, strict=True):
            np.testing.assert_allclose(found, output, atol=1e-5)
    checkpoint = reader.load("agent", AgentConfig(checkpoint=tmp_path / "agent.onnx"))
    assert {state.input for state in checkpoint.contract.state} == {
        port.name for port in form.inputs if port.name != "obs"
    }
    assert [spec.shape for spec in checkpoint.inputs if spec.name == "obs"] == [(networks.OBSERVED,)]


def test_mlagents_packs_the_state_and_states_what_the_host_checks() -> None:
    of = networks.program(networks.LstmCellPolicy)
    session, content = opened(of, "mlagents")
    width = 2 * networks.HIDDEN
    taken, given = sides(session)
    assert taken == {"obs_0": ["batch", networks.OBSERVED], "recurrent_in": ["batch", 1, width]}
    assert given["recurrent_out"] == ["batch", 1, width]
    assert opset(content) == 15
    obs, h, c = draw(of, 3)
    found = dict(
        zip(
            given,
            session.run(None, {"obs_0": obs, "recurrent_in": np.concatenate([h, c], 1)[:, np.newaxis]}),
            strict=True,
        )
    )
    wanted = [output.numpy() for output in evaluate(of.module, [*map(_tensor, (obs, h, c))])]
    np.testing.assert_allclose(found["deterministic_continuous_actions"], wanted[0], atol=1e-5)
    np.testing.assert_array_equal(found["continuous_actions"], found["deterministic_continuous_actions"])
    np.testing.assert_allclose(found["recurrent_out"][:, 0], np.concatenate(wanted[1:], 1), atol=1e-5)
    assert found["version_number"].tolist() == [MLAGENTS_VERSION]
    assert found["memory_size"].tolist() == [width]
    assert found["continuous_action_output_shape"].tolist() == [networks.ACTIONS]


def test_godot_gives_back_the_state_that_nobody_reads() -> None:
    of = program(Policy)
    session, _ = opened(of, "godot")
    assert sides(session) == (
        {"obs": ["batch", 8], "state_ins": ["batch"]},
        {"output": ["batch", 3], "state_outs": ["batch"]},
    )
    (state,) = draw(of, 2)
    output, passed = session.run(None, {"obs": state, "state_ins": np.array([3.0, 4.0], np.float32)})
    np.testing.assert_allclose(output, evaluate(of.module, [_tensor(state)])[0].numpy(), atol=1e-6)
    assert passed.tolist() == [3.0, 4.0]


def test_a_part_keeps_what_the_contract_says_of_it() -> None:
    of = program(Pair)
    outputs = tuple(
        replace(spec, role="action" if spec.name == "output_1" else "value") for spec in of.signature.outputs
    )
    deciding = of.but(
        contract=Contract(action="argmax", groups=(5,)), signature=Signature(of.signature.inputs, outputs)
    )
    decision, value = (narrowed(deciding, (name,)) for name in ("output_1", "output_2"))
    assert (decision.contract.action, decision.contract.groups) == ("argmax", (5,))
    assert (value.contract.action, value.contract.groups) == ("none", ())
    assert [spec.name for spec in value.signature.outputs] == ["output_2"]


def starting() -> Program:
    """A GRU policy that is told where an episode begins."""
    of = networks.program(networks.GruCellPolicy)
    signature = Signature(
        tuple(spec if spec.name == "h" else replace(spec, name="x") for spec in of.signature.inputs),
        of.signature.outputs,
    )
    started = _Started(of.module).eval()
    return of.but(
        module=started,
        exported=None,
        signature=Signature(
            (*signature.inputs, replace(signature.inputs[0], name="start", shape=())), signature.outputs
        ),
        contract=replace(of.contract, episode_start="start"),
        example=(*of.example, torch.zeros(2)),
    )


def test_the_start_of_an_episode_is_the_hosts_own() -> None:
    """An input that no host gives is 0: the host begins an episode with a state of zeros."""
    of = networks.program(networks.GruCellPolicy)
    assert [port.name for port in formed(starting(), "generic")[1].inputs] == ["h", "x", "start"]
    kept = formed(starting(), "generic", ("action",))[1]
    assert [port.name for port in kept.inputs] == ["h", "x", "start"]
    session, _ = opened(starting(), "isaaclab")
    assert set(sides(session)[0]) == {"obs", "h_in"}
    h, obs = draw(of, 1)
    action, h_out = session.run(["actions", "h_out"], {"obs": obs, "h_in": h[np.newaxis]})
    wanted = [output.numpy() for output in evaluate(of.module, [*map(_tensor, (h, obs))])]
    np.testing.assert_allclose(action, wanted[1], atol=1e-5)
    np.testing.assert_allclose(h_out[0], wanted[0], atol=1e-5)


@pytest.mark.parametrize(
    ("of", "flavour", "words"),
    [
        (program(Pair), "isaaclab", "2 observations (state, image); the host gives one, 'obs'"),
        (program(Pair), "godot", "2 observations (state, image)"),
        (networks.program(networks.LstmCellPolicy), "godot", "recurrent state; the host keeps none"),
        (
            program(Policy).but(contract=Contract(action="argmax")),
            "isaaclab",
            "a decision (argmax) for its action, where the host takes numbers",
        ),
    ],
)
def test_what_a_host_has_no_place_for_is_said(of: Program, flavour: Flavour, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        formed(of, flavour)
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"--flavour {flavour} cannot be written, --flavour generic can")


def test_an_action_that_nothing_marks_is_asked_for() -> None:
    marked = r"none is marked as the action \(output_0, output_1, output_2\), .* say which: --outputs NAME"
    with pytest.raises(ConfigError, match=marked):
        formed(program(Pair), "mlagents")


def test_inputs_that_a_host_gives_in_another_dtype_are_said() -> None:
    with pytest.raises(ConfigError, match="has 'image' of uint8, where the host has float32"):
        formed(program(Pair), "mlagents", ("output_0",))


def test_a_state_that_does_not_begin_at_zero_is_said() -> None:
    of = networks.program(networks.LstmCellPolicy)
    states = (replace(of.contract.state[0], initial=0.5), *of.contract.state[1:])
    with pytest.raises(ConfigError, match="a state 'h' that does not begin at 0"):
        formed(of.but(contract=replace(of.contract, state=states)), "isaaclab")
