"""The check between passes finds what a broken pass leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.passes.check import check
from grandopt.compiler.program import Program
from grandopt.errors import PassError
from tests.capture import agents
from tests.capture.agents import checkpoint


@pytest.fixture(scope="module")
def sound() -> Program:
    return capture(checkpoint(agents.Policy(), (8,)))


def changed(program: Program, module: nn.Module, **fields: object) -> Program:
    return program.after("broken", module=module.eval(), exported=None, **fields)


def test_a_sound_program_passes(sound: Program) -> None:
    check(sound)
    check(sound, before=sound)


class Last(nn.Module):
    """Something done to the output."""

    def __init__(self, module: nn.Module, function: object) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, state: Tensor) -> object:
        return self.function(self.module(state))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda out: out[:, :2],
            r"output output_0 of the module is float32 \[2, 2\] instead of float32 \[2, 3\]",
        ),
        (lambda out: out.double(), r"is float64 \[2, 3\]"),
        (lambda out: (out, out), r"has 2 output\(s\) instead of 1"),
        (lambda out: out @ out, "the module does not run: mat1 and mat2 shapes"),
        (lambda out: out / 0.0, "is not finite where it was finite before"),
        (lambda out: out * 1.001, "differs by .* from what it was before"),
    ],
)
def test_a_broken_module_is_found(sound: Program, function: object, message: str) -> None:
    with pytest.raises(PassError, match=f"after broken: .*{message}"):
        check(changed(sound, Last(sound.module, function)), before=sound)


def test_reduced_precision_may_differ_but_must_stay_finite(sound: Program) -> None:
    check(changed(sound, Last(sound.module, lambda out: out * 1.01), precision="bfloat16"), before=sound)
    with pytest.raises(PassError, match="not finite"):
        check(changed(sound, Last(sound.module, lambda out: out * torch.nan), precision="bfloat16"), sound)


def test_an_infinite_original_may_stay_infinite(sound: Program) -> None:
    endless = sound.but(module=Last(sound.module, lambda out: out / 0.0), exported=None)
    check(endless, before=endless)


def test_a_broken_graph_is_found() -> None:
    program = capture(checkpoint(agents.Policy(), (8,)))
    assert program.exported is not None
    nodes = list(program.exported.graph_module.graph.nodes)
    nodes[0].prepend(next(node for node in nodes if node.op == "call_function"))
    with pytest.raises(PassError, match="the exported graph is broken"):
        check(program)
