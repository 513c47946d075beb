"""Traces: accepted when they hold for every batch and all data, refused with the reason when not."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.program import evaluate
from tests.capture import agents
from tests.capture.agents import checkpoint
from tests.capture.test_export import refusal


def test_a_branch_on_the_data_is_found_by_running_and_named() -> None:
    program = trace(capture(checkpoint(agents.SignBranch(), (8,))))
    reason = refusal(program, "trace")
    assert "gives other outputs than the original on" in reason
    assert "max difference" in reason
    assert "the network's control flow depends on the data (agents.py:" in reason
    assert reason.endswith("not traced")


def test_a_branch_that_no_draw_takes_is_not_traced_either() -> None:
    program = trace(capture(checkpoint(agents.RareBranch(), (8,))))
    assert "may depend on data that no draw had (agents.py:" in refusal(program, "trace")


def test_a_number_taken_from_the_data_is_not_traced() -> None:
    program = trace(capture(checkpoint(agents.NumberFromData(), (8,))))
    assert program.exported is not None
    assert "a value is built in (agents.py:" in refusal(program, "trace")


@pytest.mark.parametrize(("network", "shape"), [(agents.PythonSize, (8,)), (agents.PythonState, (5, 4))])
def test_a_batch_size_built_in_is_found_without_running_the_trace(
    network: type[nn.Module], shape: tuple[int, ...]
) -> None:
    program = trace(capture(checkpoint(network(), shape)))
    assert refusal(program, "trace").startswith("the trace has the batch size built in (agents.py:")


def test_an_exported_network_with_a_recurrent_state_is_not_traced_with_its_batch() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 3, batch_first=True)

        def forward(self, steps: torch.Tensor) -> torch.Tensor:
            return self.lstm(steps)[0]

    captured = capture(checkpoint(Recurrent(), (5, 4)))
    assert trace(captured).traced is not None
    assert captured.exported is not None
    exported = captured.but(module=captured.exported.module())
    assert "the trace has the batch size built in" in refusal(trace(exported), "trace")


def test_what_is_torchscript_already_is_taken_as_it_is() -> None:
    scripted = torch.jit.script(agents.Policy().eval())
    program = trace(capture(checkpoint(scripted, (8,))))
    assert program.traced is program.module


def test_a_script_with_a_branch_keeps_it() -> None:
    program = trace(capture(checkpoint(torch.jit.script(agents.SignBranch().eval()), (8,))))
    assert program.traced is program.module
    negative = (torch.full((2, 8), -1.0),)
    assert program.traced is not None
    assert torch.equal(evaluate(program.traced, negative)[0], program.module(*negative))


def test_the_exported_program_is_traced_where_the_module_cannot_be() -> None:
    class Untraceable(agents.Policy):
        def forward(self, state: torch.Tensor) -> torch.Tensor:
            if torch._C._is_tracing():
                raise RuntimeError("I refuse")
            return self.net(state)

    program = trace(capture(checkpoint(Untraceable(), (8,))))
    assert program.traced is not None
    assert trace(program.but(exported=None, traced=None)).refusals[-1].reason.text == (
        "torch.jit.trace failed: I refuse; not traced"
    )


def test_the_tracers_warnings_stay_inside() -> None:
    captured = capture(checkpoint(agents.SizeBranch(), (8,)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program = trace(captured)
    assert caught == []
    assert program.traced is None


def test_tracing_again_replaces_the_old_refusal() -> None:
    refused = trace(capture(checkpoint(agents.SignBranch(), (8,))))
    again = trace(refused.but(module=agents.Policy().eval().requires_grad_(False)))
    assert again.traced is not None
    assert [item.stage for item in again.refusals] == ["export"]
