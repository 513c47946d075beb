"""Archives that keep state, take containers or have a batch of 1 become agents that answer as they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, ConfigError, SignatureError
from tests.archives import networks
from tests.archives.networks import HIDDEN, OBSERVED

STEPS = 12
X = {"x": [OBSERVED]}
REPLACED, ONE_BY_ONE = "replaced by any", "one row after the other"
BY_ITSELF = "its operators take any, each row by itself"


def saved(network: nn.Module, folder: Path) -> Path:
    path = folder / "archive.pt"
    torch.jit.save(torch.jit.script(network.eval()), path)
    return path


def opened(path: Path, inputs: dict[str, list[int]], **settings: Any) -> Checkpoint:
    declared = [{"name": name, "shape": shape} for name, shape in inputs.items()]
    return detect.load("a", AgentConfig.model_validate({"checkpoint": path, "inputs": declared, **settings}))


def first_state(checkpoint: Checkpoint, batch: int) -> list[Tensor]:
    """The state before the first call, for so many streams."""
    specs = {spec.name: spec for spec in checkpoint.inputs}
    values = []
    for tensor in checkpoint.contract.state:
        spec = specs[tensor.input]
        one = torch.tensor(tensor.initial, dtype=torch.float64).expand(spec.elements).reshape(spec.shape)
        values.append(one.to(getattr(torch, spec.dtype)).expand(batch, *spec.shape).clone())
    return values


def stepped(checkpoint: Checkpoint, observations: Tensor) -> Tensor:
    """The answers to observations [N, B, …], one call after the other, from the first state on."""
    state = first_state(checkpoint, observations.shape[1])
    answers = []
    with torch.no_grad():
        for observation in observations:
            result = checkpoint.module(observation, *state)
            answer, *state = result if isinstance(result, tuple) else (result,)
            answers.append(answer)
    return torch.stack(answers)


def original(path: Path, observations: Tensor, *, reset: str = "", batched: bool = True) -> Tensor:
    """What the archive gives to each stream of the observations, opened anew for each."""
    streams = []
    for stream in observations.transpose(0, 1):
        archive = torch.jit.load(path).eval()
        if reset:
            getattr(archive, reset)()
        with torch.no_grad():
            rows = [archive(row[None] if batched else row).reshape(-1) for row in stream]
        streams.append(torch.stack(rows))
    return torch.stack(streams, dim=1)


@pytest.mark.parametrize(
    ("kind", "batch", "reset"),
    [
        (networks.Memory, None, ""),
        (networks.Reset, None, "reset_memory"),
        (networks.History, None, ""),
        (networks.BareHistory, BY_ITSELF, ""),
        (networks.FilteredHistory, ONE_BY_ONE, ""),
        (networks.Clock, None, ""),
        (networks.LastAction, REPLACED, ""),
        (networks.View, REPLACED, ""),
        (networks.MadeState, REPLACED, ""),
        (networks.Squeezed, None, ""),
        (networks.Single, BY_ITSELF, ""),
    ],
)
def test_every_stream_goes_as_the_archive_does(
    tmp_path: Path, kind: type[nn.Module], batch: str | None, reset: str
) -> None:
    path = saved(kind(), tmp_path)
    checkpoint = opened(path, X)
    torch.manual_seed(1)
    observations = torch.randn(STEPS, 3, OBSERVED)
    wanted = original(path, observations, reset=reset, batched=kind is not networks.Single)
    torch.testing.assert_close(stepped(checkpoint, observations), wanted, rtol=1e-5, atol=1e-5)
    one = stepped(checkpoint, observations[:, :1])
    torch.testing.assert_close(one, wanted[:, :1], rtol=1e-5, atol=1e-5)
    said = checkpoint.source.details.get("batch")
    assert said is None if batch is None else batch in said


def test_what_is_kept_is_state_and_begins_as_in_the_file_or_after_a_reset(tmp_path: Path) -> None:
    kept = opened(saved(networks.Memory(), tmp_path), X)
    names = [(tensor.input, tensor.output, tensor.initial) for tensor in kept.contract.state]
    assert names == [("hidden", "hidden_next", pytest.approx(0.3)), ("cell", "cell_next", 0.0)]
    assert [spec.shape for spec in kept.inputs] == [(OBSERVED,), (2, HIDDEN), (2, HIDDEN)]
    assert kept.output_names == ("output_0", "hidden_next", "cell_next")
    assert "begins with the values in the file" in kept.source.details["state"]
    reset = opened(saved(networks.Reset(), tmp_path), X)
    assert [tensor.initial for tensor in reset.contract.state] == [-0.5, 0.25]
    assert "begins with what reset_memory() sets" in reset.source.details["state"]
    history = opened(saved(networks.History(), tmp_path), X)
    assert history.contract.state[0].initial == pytest.approx(torch.linspace(0, 1, 18).tolist())


def test_results_beside_the_state_can_be_named_and_the_state_begun_otherwise(tmp_path: Path) -> None:
    path = saved(networks.Memory(), tmp_path)
    state = {"cell": {"output": "cell_next", "initial": 0.5}}
    checkpoint = opened(path, X, outputs=["action"], state=state)
    assert checkpoint.output_names == ("action", "hidden_next", "cell_next")
    assert [tensor.initial for tensor in checkpoint.contract.state] == [pytest.approx(0.3), 0.5]
    with pytest.raises(SignatureError, match=r"3 output names for 1 output\(s\)"):
        opened(path, X, outputs=["a", "b", "c"])
    with pytest.raises(SignatureError, match="state 'h': there is no such input; the inputs are x, hidden"):
        opened(path, X, state={"h": "hidden_next"})


def test_a_state_that_a_recurrent_layer_takes_and_gives_is_found(tmp_path: Path) -> None:
    network = networks.Nested().eval()
    path = saved(network, tmp_path)
    assert detect.describe(path)["inputs"] == ["x", "hc.0", "hc.1"]
    for inputs in (X, {**X, "h": [2, HIDDEN], "c": [2, HIDDEN]}):
        checkpoint = opened(path, inputs)
        names = ["hc.0", "hc.1"] if inputs is X else ["h", "c"]
        assert [(tensor.input, tensor.output) for tensor in checkpoint.contract.state] == [
            (name, f"{name}_next") for name in names
        ]
        observations = torch.randn(STEPS, 3, OBSERVED)
        state = (torch.zeros(2, 3, HIDDEN), torch.zeros(2, 3, HIDDEN))
        wanted = []
        with torch.no_grad():
            for row in observations:
                answer, state = network(row, state)
                wanted.append(answer)
        torch.testing.assert_close(stepped(checkpoint, observations), torch.stack(wanted))
    with pytest.raises(CheckpointError, match=r"takes 3 input\(s\) \(x, hc.0, hc.1\), but 'inputs'"):
        opened(path, {**X, "h": [2, HIDDEN]})


def test_containers_become_inputs_and_outputs_with_names(tmp_path: Path) -> None:
    network = networks.Named().eval()
    path = saved(network, tmp_path)
    body, goal, scale = torch.randn(4, 4), torch.randn(4, 2), torch.randn(4, 3)
    for inputs, given in (
        ({"obs.body": [4], "obs.goal": [2]}, (body, goal)),
        ({"body": [4], "goal": [2], "scale": [3]}, (body, goal, scale)),
    ):
        checkpoint = opened(path, inputs)
        assert checkpoint.output_names == ("action", "value")
        wanted = network({"body": body, "goal": goal}, *given[2:])
        for found, name in zip(checkpoint.module(*given), wanted, strict=True):
            torch.testing.assert_close(found, wanted[name])
    program = capture(checkpoint)
    assert program.exported is not None, program.refusal("export")
    with pytest.raises(CheckpointError, match="takes its inputs by name: declare them as obs"):
        opened(path, {"goal": [2], "body": [4]})


def test_a_list_is_as_long_as_its_code_says(tmp_path: Path) -> None:
    network = networks.Listed().eval()
    path = saved(network, tmp_path)
    assert detect.describe(path)["inputs"] == ["parts.0", "parts.1"]
    checkpoint = opened(path, {"a": [2], "b": [4]})
    a, b = torch.randn(3, 2), torch.randn(3, 4)
    torch.testing.assert_close(checkpoint.module(a, b), network([a, b]))


def test_arguments_without_tensors_are_fixed(tmp_path: Path) -> None:
    network = networks.Flagged().eval()
    path = saved(network, tmp_path)
    assert detect.describe(path)["flags"] == ["deterministic", "gain", "mode"]
    x = torch.randn(3, OBSERVED)
    plain = opened(path, X, fix={"deterministic": True})
    torch.testing.assert_close(plain.module(x), network(x, True))
    other = opened(path, X, fix={"deterministic": True, "gain": 2, "mode": "squashed"})
    torch.testing.assert_close(other.module(x), network(x, True, 2.0, "squashed"))
    assert other.source.details["defaults"] == "deterministic=True, gain=2, mode=squashed"


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ({}, r"forward takes 'deterministic' as a bool.*--fix deterministic=VALUE"),
        ({"deterministic": False}, "forward draws random numbers"),
        ({"deterministic": 1}, "fix: forward takes 'deterministic' as a bool, got 1"),
        ({"deterministic": True, "gain": "much"}, "fix: forward takes 'gain' as a float, got 'much'"),
        ({"determinstic": True}, "fix: forward has no argument 'determinstic'; its arguments: x"),
        ({"deterministic": True, "x": 1}, "fix: forward takes 'x' as a tensor; only flags"),
    ],
)
def test_a_wrong_value_is_refused(tmp_path: Path, fix: dict[str, Any], message: str) -> None:
    path = saved(networks.Flagged(), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        opened(path, X, fix=fix)


def test_only_an_archive_has_arguments_to_fix(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="'fix' cannot be used with anything but a TorchScript archive"):
        opened(tmp_path / "a.pth", {}, fix={"deterministic": True})
    with pytest.raises(ConfigError, match="only arguments of a ScriptModule can be fixed"):
        from_module("a", nn.Linear(2, 2), torch.zeros(1, 2), fix={"deterministic": True})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            networks.Worded,
            r"takes or gives tensors in containers, .*: an agent gives tensors, but '1' is a str",
        ),
        (networks.Counting, r"forward writes 'calls'.*, which holds int and no tensor"),
        (networks.Comparing, r"keeps state in itself, .*: the network's control flow depends on the data"),
        (
            networks.Switching,
            r"keeps state in itself, .*: the network's control flow depends on the data",
        ),
    ],
)
def test_what_cannot_be_laid_open_is_named(tmp_path: Path, kind: type[nn.Module], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(saved(kind(), tmp_path), X)
    assert "\n" not in str(caught.value)


def test_inputs_of_the_wrong_size_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the network does not take x \[1, 7\]: "):
        opened(saved(networks.Memory(), tmp_path), {"x": [7]})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_follows_from_the_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    path = saved(networks.History().to(dtype), tmp_path)
    checkpoint = opened(path, X)
    taken = torch.float32 if dtype == torch.bfloat16 else dtype
    assert {spec.dtype for spec in checkpoint.inputs} == {str(taken).removeprefix("torch.")}
    observations = torch.randn(STEPS, 2, OBSERVED).to(dtype)
    wanted = original(path, observations).to(taken)
    torch.testing.assert_close(stepped(checkpoint, observations.to(taken)), wanted, rtol=2e-2, atol=2e-2)


def test_a_script_module_in_memory_is_laid_open_too() -> None:
    example = torch.zeros(1, OBSERVED)
    kept = from_module("a", torch.jit.script(networks.Reset().eval()), example)
    assert [tensor.initial for tensor in kept.contract.state] == [-0.5, 0.25]
    flagged = torch.jit.script(networks.Flagged().eval())
    x = torch.randn(3, OBSERVED)
    fixed = from_module("a", flagged, example, fix={"deterministic": True})
    torch.testing.assert_close(fixed.module(x), flagged(x, True))
    named = torch.jit.script(networks.Named().eval())
    parts = {"body": torch.zeros(2, 4), "goal": torch.zeros(2, 2)}
    assert from_module("a", named, parts).output_names == ("action", "value")
    with pytest.raises(CheckpointError, match=r"takes 2 input\(s\) \(obs.body, obs.goal\), but the"):
        from_module("a", named, torch.zeros(2, 4))
