"""How a lowered program behaves when it is called, found by calling it: what an executor must make up for."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from grandopt.compiler.program import FORWARD_ERRORS, Program
from grandopt.errors import BuildError, UnsupportedError, first_line

Forward = Callable[..., Any]


def conventions(program: Program, module: torch.nn.Module, forward: Forward) -> dict[str, Any]:
    """The options `returns`, `copied_inputs` and `copied_outputs` that the executor of `forward` needs.

    `module` is the payload as it was loaded again, and holds the state of `forward`, which is called on the
    program's example with batches of 1 and 2. Raises BuildError when that fails or when the outputs are not
    those of the program's signature, UnsupportedError when a call leaves a trace in the module.
    """
    before = {name: value.clone() for name, value in _state(module)}
    copied_inputs, copied_outputs, returns = False, set[int](), "tensor"
    called = _translated(program, forward)
    with torch.no_grad():
        for batch in (1, 2):
            example = tuple(value[:batch].clone() for value in program.example)
            copied_inputs |= _writes_inputs(called, example)
            kept = tuple(value.clone() for value in example)
            first, returns = _called(called, kept)
            second, _ = _called(called, tuple(value.clone() for value in example))
            _check_outputs(program, first, batch)
            copied_outputs |= _shared(first, second, () if copied_inputs else kept)
    for name, value in _state(module):
        if not _same(value, before[name]):
            raise UnsupportedError(
                f"{program.name}: writes to its own {name!r} at each call; an artifact, which "
                f"several threads may call at once, keeps no state"
            )
    return {
        "returns": returns,
        "copied_inputs": copied_inputs,
        "copied_outputs": sorted(copied_outputs),
    }


def _translated(program: Program, forward: Forward) -> Forward:
    """`forward`, with what it raises as a BuildError. The rest of this file is ours: its faults are bugs."""

    def call(*inputs: torch.Tensor) -> Any:
        try:
            return forward(*inputs)
        except FORWARD_ERRORS as error:
            raise BuildError(
                f"{program.name}: the built program fails on its example: {first_line(error)}"
            ) from error

    return call


def stateless(program: Program) -> torch.export.ExportedProgram:
    """The exported program, for an engine that would compile its state away.

    Raises UnsupportedError with the reason when there is none, or when a call leaves a trace in it.
    """
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: not exported: {program.refusal('export')}")
    with warnings.catch_warnings():
        # torch 2.13 copies its own description of the arguments in a way that it deprecates itself.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`", FutureWarning)
        module = copy.deepcopy(program.exported).module(check_guards=False)
    conventions(program, module, module)
    return program.exported


def _state(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _called(forward: Forward, inputs: Sequence[torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], str]:
    result = forward(*inputs)
    if isinstance(result, torch.Tensor):
        return (result,), "tensor"
    return tuple(result), "tuple"


def _writes_inputs(forward: Forward, example: Sequence[torch.Tensor]) -> bool:
    inputs = tuple(value.clone() for value in example)
    forward(*inputs)
    return any(not _same(after, before) for after, before in zip(inputs, example, strict=True))


def _check_outputs(program: Program, outputs: Sequence[torch.Tensor], batch: int) -> None:
    declared = [(spec.dtype, [batch, *spec.shape]) for spec in program.signature.outputs]
    given = [(str(output.dtype).removeprefix("torch."), list(output.shape)) for output in outputs]
    if given != declared:
        raise BuildError(f"{program.name}: the built program gives {given}, its signature says {declared}")


def _shared(
    first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]
) -> set[int]:
    """Positions of outputs that a caller would not own: their memory is also an input's, an earlier output's,
    the next call's (then it is the program's own), or several of their elements are one."""
    taken = {_memory(value) for value in (*inputs, *second)}
    found = set()
    for index, output in enumerate(first):
        overlapping = any(
            stride == 0 and size > 1 for size, stride in zip(output.shape, output.stride(), strict=True)
        )
        if overlapping or _memory(output) in taken:
            found.add(index)
        taken.add(_memory(output))
    return found


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
