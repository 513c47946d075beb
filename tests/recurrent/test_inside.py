"""Buffers that a module in memory, or an exported program, writes are its state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.schema import AgentConfig
from grandopt.errors import SignatureError
from tests.archives import networks
from tests.archives.networks import OBSERVED
from tests.archives.test_laid_open import stepped

STEPS = 8


def original(network: nn.Module, observations: Tensor) -> Tensor:
    """What the module gives to each stream, its buffers set back before each."""
    kept = {name: value.clone() for name, value in network.named_buffers()}
    streams = []
    for stream in observations.transpose(0, 1):
        network.load_state_dict(kept, strict=False)
        with torch.no_grad():
            streams.append(torch.stack([network(row[None])[0] for row in stream]))
    network.load_state_dict(kept, strict=False)
    return torch.stack(streams, dim=1)


def exported(network: nn.Module, folder: Path) -> Checkpoint:
    path = folder / "program.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, OBSERVED),)), path)
    return detect.load("a", AgentConfig(checkpoint=path))


@pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export")
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (networks.Memory, "memory"),
        (networks.Memory, "exported"),
        (networks.History, "memory"),
        (networks.History, "exported"),
        (networks.Clock, "memory"),  # its program has a batch of 1 in the sizes of a view
    ],
)
def test_every_stream_goes_as_the_module_does(tmp_path: Path, kind: type[nn.Module], form: str) -> None:
    network = kind().eval()
    torch.manual_seed(1)
    observations = torch.randn(STEPS, 3, OBSERVED)
    wanted = original(network, observations)
    before = {name: value.clone() for name, value in network.named_buffers()}
    if form == "memory":
        checkpoint = from_module("a", network, torch.zeros(1, OBSERVED))
    else:
        checkpoint = exported(network, tmp_path)
    torch.testing.assert_close(stepped(checkpoint, observations), wanted, rtol=1e-5, atol=1e-5)
    names = [tensor.input for tensor in checkpoint.contract.state]
    assert names == [name for name, _ in network.named_buffers()]
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name])  # the caller's module is not changed


def test_it_is_captured_with_its_state(tmp_path: Path) -> None:
    program = capture(from_module("a", networks.History().eval(), torch.zeros(1, OBSERVED)))
    assert program.exported is not None, program.refusal("export")
    assert [spec.name for spec in program.signature.outputs] == ["output_0", "history_next"]


def test_results_can_be_named_and_a_second_state_is_refused() -> None:
    example = torch.zeros(1, OBSERVED)
    named = from_module("a", networks.History().eval(), example, outputs=("action",))
    assert named.output_names == ("action", "history_next")
    with pytest.raises(SignatureError, match=r"2 output names for 1 output\(s\) beside the state"):
        from_module("a", networks.History().eval(), example, outputs=("a", "b"))
    with pytest.raises(SignatureError, match="forward writes history: that is the state already"):
        from_module("a", networks.History().eval(), {"x": example}, state={"x": "y"})


def test_what_is_for_one_stream_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="forward writes last at each call, for one stream alone"):
        from_module("a", networks.LastAction().eval(), torch.zeros(1, OBSERVED))
    with pytest.raises(SignatureError, match="forward writes phase, count at each call, for one stream"):
        exported(networks.Clock().eval(), tmp_path)


def remembering() -> nn.Module:
    return networks.Memory()


def test_a_network_for_a_state_dict_may_remember_too(tmp_path: Path) -> None:
    network = networks.Memory().eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    inputs = [{"name": "x", "shape": [OBSERVED]}]
    fields = {"checkpoint": tmp_path / "a.pth", "network": f"{__name__}:remembering", "inputs": inputs}
    checkpoint = detect.load("a", AgentConfig.model_validate(fields))
    observations = torch.randn(STEPS, 2, OBSERVED)
    torch.testing.assert_close(stepped(checkpoint, observations), original(network, observations))
