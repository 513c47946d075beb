"""Archives that are no agents as they are: with state in buffers, tensors in containers, or a batch of 1.

The graph of such an archive is followed with its state as an input and an output, and traced anew. What comes
out is held against the archive itself, called with one row after the other: nothing is taken on trust.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from grandopt.compiler.checkpoints.dtypes import Bfloat16Boundary
from grandopt.compiler.checkpoints.exported.program import runnable
from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS, quiet
from grandopt.compiler.checkpoints.exported.vectorised import vectorised
from grandopt.compiler.checkpoints.stateful.held import Held, Tensors, agrees, placed, row_of, streams
from grandopt.compiler.checkpoints.stateful.recurrence import FlatState
from grandopt.compiler.checkpoints.torchscript.original import Call, Original
from grandopt.compiler.checkpoints.torchscript.rows import OneRow, row_by_row
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.compiler.scripted.arguments import results
from grandopt.compiler.scripted.batch import Freed
from grandopt.compiler.scripted.graph import steps
from grandopt.compiler.scripted.network import ScriptedNetwork
from grandopt.errors import CaptureError
from grandopt.signature import TensorSpec

LEARNED = (3, 5)
"""Batches that show which dimensions of size 1 are none of the batch."""

GUESSES = (
    Freed(),
    Freed(views=True),
    Freed(views=True, made=0),
    Freed(views=True, made=1),
    Freed(views=True, made=0, selected=True),
)
REPLACED = "a batch of 1 is built in; replaced by any, which was tried to give the same rows"
ALL_ROWS = "a batch of 1 is built in; its operators take any, each row by itself"
ONE_BY_ONE = "a batch of 1 is built in; a batch is computed one row after the other"


class LaidOpen(torch.nn.Module):
    """An archive's network that takes and gives tensors one by one, those of its state last."""

    def __init__(self, archive: torch.jit.ScriptModule, call: Call, held: Sequence[Held]) -> None:
        super().__init__()
        self.network = ScriptedNetwork(archive, [item.path for item in held])
        self.call, self.held = call, tuple(held)
        self.eval()

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        """The tensors of the call in order, then the state; those of the result, then the next state."""
        given, state = self._parted(inputs)
        result, kept = self.network.step(given, state, _rows(inputs))
        return (*(value for _, value in results(result)), *kept)

    def learn(self, inputs: Sequence[torch.Tensor]) -> list[tuple[str, Any]]:
        """The results, by name, of a call from which the network learns (`ScriptedNetwork.learn`)."""
        given, state = self._parted(inputs)
        result, _ = self.network.learn(given, state, _rows(inputs))
        found = list(results(result))
        other = [(name, value) for name, value in found if not isinstance(value, torch.Tensor)]
        if other or not found:
            what = (
                f"{other[0][0] or 'its result'!r} is a {type(other[0][1]).__name__}"
                if other
                else "it gives nothing"
            )
            raise CaptureError(f"an agent gives tensors, but {what}")
        return found

    def _parted(self, inputs: Sequence[torch.Tensor]) -> tuple[list[Any], list[torch.Tensor]]:
        count = len(self.call.inputs)
        state = [
            value if value.dtype == item.value.dtype else value.to(item.value.dtype)
            for value, item in zip(inputs[count:], self.held, strict=True)
        ]
        return self.call.arguments.built(inputs[:count]), state


@dataclass(frozen=True)
class Answer:
    """The archive as an agent: `module` takes the tensors of the call and `held`, and gives their next values
    last.

    `names` are those of the results. `pairs` are the inputs, by name, whose next value a recurrent layer
    gives, each with the place of that result. `batch` says what became of a batch of 1 that was built in.
    `program` is set where the module is that of an exported program.
    """

    module: torch.nn.Module
    held: tuple[Held, ...]
    names: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    batch: str | None = None
    program: torch.export.ExportedProgram | None = None


def laid_open(
    archive: torch.jit.ScriptModule, twin: torch.jit.ScriptModule, call: Call, held: Sequence[Held]
) -> Answer:
    """The archive with all that it remembers as inputs and outputs, for any batch, held against itself.

    `twin` is the same archive; it is called, and its state written. Raises CaptureError where the data decide
    what is done, and what the call raises (see FORWARD_ERRORS) where it does not take its inputs.
    """
    try:
        Original(twin, call, held, batched=True)(row_of(streams(call.inputs, held, 1), 0))
    except FORWARD_ERRORS as error:
        try:
            return _one_by_one(archive, twin, call, held, batched=False)
        except FORWARD_ERRORS:
            raise error from None
    for guess, places in itertools.product(GUESSES, placed(held)):
        try:
            found = _freed(archive, twin, call, places, guess)
        except FORWARD_ERRORS:
            continue
        if found is not None:
            return found
    return _one_by_one(archive, twin, call, held, batched=True)


def _freed(
    archive: torch.jit.ScriptModule,
    twin: torch.jit.ScriptModule,
    call: Call,
    held: tuple[Held, ...],
    guess: Freed,
) -> Answer | None:
    """The archive for any batch if it is the same with the batch in these places; else None."""
    network = LaidOpen(archive, call, held)
    network.network.freed = guess
    original = Original(twin, call, held, batched=True)
    axes = (*call.axes, *(item.axis or 0 for item in held))
    for batch in LEARNED:
        values = streams(call.inputs, held, batch)
        given = [value.movedim(0, axis) for value, axis in zip(values, axes, strict=True)]
        flat, names, pairs = _flat(network, call, held, given)
    if not agrees(flat, original, call.inputs, held):
        return None
    one = streams(call.inputs, held, 1)
    made, other = (_traced(flat, [value.expand(rows, *value.shape[1:]) for value in one]) for rows in (2, 3))
    if list(steps(made.inlined_graph)) != list(steps(other.inlined_graph)):
        return None
    if not agrees(made, original, call.inputs, held):
        return None
    return Answer(made, held, names, pairs, None if guess == Freed() else REPLACED)


def _all_rows(
    step: torch.nn.Module, one: Sequence[torch.Tensor], inputs: Sequence[TensorSpec], held: Sequence[Held]
) -> torch.export.ExportedProgram | None:
    """A step for one row, whose operators take any number of rows; None where there is one that does not."""
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(step, tuple(one))
    except EXPORT_ERRORS:
        return None
    found = vectorised(program, (*inputs, *(item.spec for item in held)), 1)
    return None if found is None else found[0]


def _one_by_one(
    archive: torch.jit.ScriptModule,
    twin: torch.jit.ScriptModule,
    call: Call,
    held: Sequence[Held],
    *,
    batched: bool,
) -> Answer:
    """The archive for any batch, each row by itself; `batched` says whether it has a batch of 1 in front.

    Its operators take all rows at once where they can, else one row after the other.
    """
    network = LaidOpen(archive, call, held)
    original = Original(twin, call, held, batched=batched)
    one, count = streams(call.inputs, held, 1), len(call.inputs)
    observed = [
        value.movedim(0, axis) if batched else value[0] for value, axis in zip(one, call.axes, strict=False)
    ]
    own = call if batched else replace(call, axes=(0,) * count)
    flat, names, pairs = _flat(network, own, held, [*observed, *(value[0] for value in one[count:])])
    step = OneRow(flat, len(held), batched=batched)
    program = _all_rows(step, one, own.inputs, held)
    if program is not None and agrees(runnable(program), original, call.inputs, held):
        return Answer(runnable(program), tuple(held), names, pairs, ALL_ROWS, program)
    module = row_by_row(_traced(step, one), len(one), len(evaluate(step, one)))
    if not agrees(module, original, call.inputs, held):
        raise CaptureError("the network's graph gives other answers than the network itself")
    return Answer(module, tuple(held), names, pairs, ONE_BY_ONE)


def _flat(
    network: LaidOpen, call: Call, held: Sequence[Held], given: Sequence[torch.Tensor]
) -> tuple[torch.nn.Module, tuple[str, ...], tuple[tuple[str, int], ...]]:
    """The network with the batch first everywhere, the names of its results, and its pairs (see `Answer`).

    It learns from a call with what is `given`, in its own form.
    """
    given = [call.own(value) for value in given]
    found = network.learn(given)
    pairs = _pairs(network.network, call, given, [value for _, value in found])
    turned = {
        place: axis
        for spec, axis in zip(call.inputs, call.axes, strict=True)
        for name, place in pairs
        if name == spec.name
    }
    bounded = network if call.bfloat16 is None else Bfloat16Boundary(network, inputs=call.bfloat16)
    flat = FlatState(
        bounded,
        (*call.axes, *(item.axis or 0 for item in held)),
        (*(turned.get(place, 0) for place in range(len(found))), *(item.axis or 0 for item in held)),
    )
    return flat, tuple(name for name, _ in found), pairs


def _pairs(
    network: ScriptedNetwork, call: Call, given: Sequence[torch.Tensor], found: Sequence[Any]
) -> tuple[tuple[str, int], ...]:
    """The inputs that a recurrent layer took for its state, and whose next value it gave as a result."""
    pairs = []
    for spec, axis, value in zip(call.inputs, call.axes, given, strict=False):
        for taken, next_ones, batch_axis in network.recurrences:
            for before, after in zip(taken, next_ones, strict=True):
                places = [place for place, result in enumerate(found) if result is after]
                if before is value and places and batch_axis == axis:
                    pairs.append((spec.name, places[0]))
    return tuple(dict(pairs).items())


def _traced(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(module, tuple(example), check_trace=False)
    return traced.eval()


def _rows(inputs: Sequence[torch.Tensor]) -> Any:
    return inputs[0].shape[0] if inputs[0].dim() else 1
