"""torch.export: dynamic batches, checked results, and refusals in one clear line."""

from __future__ import annotations

import io
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.compiler.capture.distributions import unvalidated
from grandopt.compiler.capture.export import capture, export
from grandopt.compiler.program import Program, evaluate
from grandopt.signature import TensorSpec
from tests.capture import agents
from tests.capture.agents import checkpoint


def refusal(program: Program, stage: str) -> str:
    assert getattr(program, {"export": "exported", "trace": "traced"}[stage]) is None
    (reason,) = [item.reason.text for item in program.refusals if item.stage == stage]
    assert "\n" not in reason
    return reason


def test_the_same_seed_draws_the_same_example() -> None:
    first, second = (capture(checkpoint(agents.Policy(), (8,)), seed=3) for _ in range(2))
    assert torch.equal(first.example[0], second.example[0])


@pytest.mark.parametrize("network", [agents.SignBranch, agents.RareBranch])
def test_a_branch_on_the_data_is_named(network: type[nn.Module]) -> None:
    reason = refusal(capture(checkpoint(network(), (8,))), "export")
    assert reason.startswith("the network's control flow depends on the data (agents.py:")


def test_a_refusal_is_quiet() -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        capture(checkpoint(agents.SignBranch(), (8,)))
    assert (out.getvalue(), err.getvalue(), caught) == ("", "", [])


@pytest.mark.parametrize(("network", "shape"), [(agents.PythonSize, (8,)), (agents.PythonState, (5, 4))])
def test_a_batch_size_built_into_the_code_is_named(network: type[nn.Module], shape: tuple[int, ...]) -> None:
    assert (
        refusal(capture(checkpoint(network(), shape)), "export")
        == "the network's code fixes the batch size at 2"
    )


def test_a_branch_on_the_batch_size_is_named_with_its_limit() -> None:
    reason = refusal(capture(checkpoint(agents.SizeBranch(), (8,))), "export")
    assert reason.startswith("the network's control flow depends on the batch size")
    assert "batch <= 64" in reason


def test_a_number_taken_from_the_data_stays_dynamic() -> None:
    program = capture(checkpoint(agents.NumberFromData(), (8,)))
    assert program.exported is not None
    inputs = (torch.full((4, 8), 3.0),)
    assert torch.equal(evaluate(program.exported.module(), inputs)[0], evaluate(program.module, inputs)[0])


@pytest.mark.parametrize("validate", [None, True])
def test_the_checks_of_a_distribution_are_no_branch(validate: bool | None) -> None:
    class Chosen(agents.Policy):
        def forward(self, state: torch.Tensor) -> torch.Tensor:
            logits = self.net(state)
            return torch.distributions.Categorical(logits=logits, validate_args=validate).probs.argmax(-1)

    program = capture(checkpoint(Chosen(), (8,)))
    if validate:
        reason = refusal(program, "export")
        assert re.search(
            r"depends on the data \(test_export\.py:\d+, within torch\.distributions, \w+\.py:\d+\)", reason
        )
    else:
        assert program.exported is not None


def test_distributions_are_checked_again_afterwards_and_in_other_threads() -> None:
    def checked() -> bool:
        try:
            torch.distributions.Normal(torch.tensor(float("nan")), 1.0)
        except ValueError:
            return True
        return False

    before = torch.distributions.Distribution.__dict__["_validate_args"]
    with unvalidated(), unvalidated():
        assert not checked()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(checked).result()
    assert checked()
    assert torch.distributions.Distribution.__dict__["_validate_args"] is before


def test_inputs_taken_as_star_arguments_are_dynamic_too() -> None:
    program = capture(checkpoint(agents.Star(), (3,), (2, 2)[:1], (4,)))
    assert program.exported is not None
    outputs = evaluate(program.exported.module(), [torch.ones(9, 3), torch.ones(9, 2), torch.ones(9, 4)])
    assert outputs[0].shape == (9, 9)


def test_a_network_that_writes_into_its_input_leaves_the_example_alone() -> None:
    program = capture(checkpoint(agents.WritesItsInput(), (8,)))
    before = program.example[0].clone()
    assert program.refusals == ()
    evaluate(program.module, program.example)
    assert torch.equal(program.example[0], before)


def test_a_given_program_is_used_and_checked() -> None:
    module = agents.Policy().eval().requires_grad_(False)
    batch = torch.export.Dim("batch", min=1)
    given = torch.export.export(module, (torch.randn(2, 8),), dynamic_shapes=({0: batch},))
    program = capture(checkpoint(module, (8,), exported=given))
    assert program.exported is given
    stranger = capture(checkpoint(agents.Policy(), (8,), exported=given))
    assert "gives other outputs than the original" in refusal(stranger, "export")


def test_a_given_program_of_one_batch_size_is_refused() -> None:
    module = agents.Policy().eval().requires_grad_(False)
    given = torch.export.export(module, (torch.randn(2, 8),))
    program = capture(checkpoint(module, (8,), exported=given))
    assert "fails on a batch of 1, which the original takes" in refusal(program, "export")


def test_exporting_again_replaces_the_old_refusal() -> None:
    refused = capture(checkpoint(agents.SignBranch(), (8,)))
    again = export(refused.but(module=agents.Policy().eval().requires_grad_(False)))
    assert again.exported is not None
    assert again.refusals == ()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [("ultra_fast_tactical", [(60, 7)]), ("strategic_system_jit", [(4,), (6,), (3,)])],
)
def test_a_real_archive_becomes_an_exported_program(
    shared_checkpoints: Path, name: str, shapes: list[tuple[int, ...]]
) -> None:
    archive = torch.jit.load(shared_checkpoints / "grandmodel" / f"{name}.pt", map_location="cpu")
    specs = tuple(TensorSpec(f"in_{index}", shape) for index, shape in enumerate(shapes))
    source = checkpoint(nn.Identity(), *shapes)
    program = capture(type(source)(name, archive, specs, source.source))
    assert program.refusals == ()
    assert program.exported is not None
    assert [spec.shape for spec in program.signature.outputs] == [(3,), (3,), (3,), ()]
    inputs = [torch.randn(11, *shape) for shape in shapes]
    expected = evaluate(archive, inputs)
    for want, got in zip(expected, evaluate(program.exported.module(), inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
