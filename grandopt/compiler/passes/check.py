"""What must hold of a program before and after every pass."""

from __future__ import annotations

import torch

from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate
from grandopt.errors import PassError, first_line

TOLERANCE = 1e-4
"""Largest change by a pass that keeps the precision, relative to the output's largest value."""


def check(program: Program, before: Program | None = None) -> None:
    """Raise PassError if the program does not compute what its signature says.

    The module and the exported program are run on the example; the exported graph is linted. With `before`,
    the program that a pass was given, outputs must be finite where they were, and where the precision is the
    same they must be the same up to rounding.
    """
    outputs = _run(program, "module", program.module)
    if program.exported is not None:
        try:
            program.exported.graph_module.graph.lint()
        except (RuntimeError, ValueError) as error:
            raise PassError(f"{_after(program)}the exported graph is broken: {first_line(error)}") from error
        _run(program, "exported program", program.exported.module())
    if before is not None:
        _compare(program, outputs, evaluate(before.module, before.example), before.precision)


def _run(program: Program, what: str, module: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    try:
        outputs = evaluate(module, program.example)
    except FORWARD_ERRORS as error:
        raise PassError(f"{_after(program)}the {what} does not run: {first_line(error)}") from error
    specs, batch = program.signature.outputs, program.example[0].shape[0]
    if len(outputs) != len(specs):
        raise PassError(f"{_after(program)}the {what} has {len(outputs)} output(s) instead of {len(specs)}")
    for spec, output in zip(specs, outputs, strict=True):
        dtype = str(output.dtype).removeprefix("torch.")
        if tuple(output.shape) != (batch, *spec.shape) or dtype != spec.dtype:
            raise PassError(
                f"{_after(program)}output {spec.name} of the {what} is {dtype} {list(output.shape)} instead "
                f"of {spec.dtype} {[batch, *spec.shape]}"
            )
    return outputs


def _compare(
    program: Program,
    outputs: tuple[torch.Tensor, ...],
    originals: tuple[torch.Tensor, ...],
    precision: str,
) -> None:
    for spec, output, original in zip(program.signature.outputs, outputs, originals, strict=True):
        finite = original.isfinite()
        if not bool(output[finite].isfinite().all()):
            raise PassError(f"{_after(program)}output {spec.name} is not finite where it was finite before")
        if program.precision != precision or not bool(finite.any()):
            continue
        scale = float(original[finite].double().abs().max())
        difference = float((output[finite].double() - original[finite].double()).abs().max())
        if difference > TOLERANCE * scale:
            raise PassError(
                f"{_after(program)}output {spec.name} differs by {difference:.3g} from what it was before"
            )


def _after(program: Program) -> str:
    return f"after {program.passes[-1]}: " if program.passes else ""
