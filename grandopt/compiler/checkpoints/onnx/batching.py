"""The graph of a file as a program that takes any number of rows, held against the file's own network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS, quiet
from grandopt.compiler.checkpoints.onnx.call import OperatorError, is_symbol
from grandopt.compiler.checkpoints.onnx.network import OnnxNetwork
from grandopt.compiler.checkpoints.onnx.readings import Input, Reading, row_shape
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn
from grandopt.compiler.torch_faults import mend_lstm_states
from grandopt.errors import CheckpointError, named_line
from grandopt.signature import TensorSpec

ROWS = 7
"""Rows that a program is tried with, or twice the batch of the file."""

TOLERANCE = 1e-5
"""Largest difference between one row in two batches, relative to the output's largest number: rounding."""

Outputs = tuple[torch.Tensor, ...]


class BatchError(RuntimeError):
    """A reading of the batch that does not hold."""


class _Fronts:
    """The axis of the batch in each output; known once the network was followed with a symbol for it.

    An object of its own, because torch.export undoes what a module writes into its own containers.
    """

    def __init__(self) -> None:
        self.axes: dict[int, int] = {}


class _Rows(torch.nn.Module):
    """The network of a file with the batch of every input and output in front."""

    def __init__(self, network: OnnxNetwork, reading: Reading, kept: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.reading = reading
        self.kept = tuple(kept)
        self.fronts = _Fronts()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | Outputs:
        """Tensors [B, *shape] in; a tensor, or a tuple of tensors, out."""
        outputs = torch.func.vmap(self.one)(*inputs) if self.reading.looped else self._all(inputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def _all(self, inputs: Outputs) -> Outputs:
        outputs = self.network(*(_moved(value, axis) for value, axis in zip(inputs, self.axes, strict=True)))
        for place in self.kept:
            self.fronts.axes[place] = _batch_axis(place, outputs[place])
        return self._fronted(outputs)

    def _fronted(self, outputs: Outputs) -> Outputs:
        return tuple(_moved_back(outputs[place], self.fronts.axes[place]) for place in self.kept)

    @property
    def axes(self) -> tuple[int, ...]:
        """Where each input has its rows."""
        return tuple(axis or 0 for axis in self.reading.axes)

    def one(self, *row: torch.Tensor) -> Outputs:
        """The answer to one row, as the file gives it."""
        axes = self.reading.axes
        outputs = self.network(
            *(value if axis is None else value.unsqueeze(axis) for value, axis in zip(row, axes, strict=True))
        )
        if self.reading.single:
            return tuple(outputs[place] for place in self.kept)
        return tuple(outputs[place].squeeze(self._front(outputs[place], place)) for place in self.kept)

    def _front(self, output: torch.Tensor, place: int) -> int:
        single = [axis for axis, size in enumerate(output.shape) if size == 1]
        axis = self.fronts.axes.get(place)
        if axis is None:  # in front, or where no other can be: a state with its layers first
            axis = 0 if 0 in single or len(single) != 1 else single[0]
        if axis not in single:
            raise BatchError(f"output {place} of the shape {list(output.shape)} has no batch of 1 in front")
        return axis

    def chunk(self, rows: Sequence[torch.Tensor]) -> Outputs:
        """The answers to as many rows as the file takes, as the file gives them, the batch in front."""
        outputs = self.network(*(_moved(value, axis) for value, axis in zip(rows, self.axes, strict=True)))
        return self._fronted(outputs)


def _moved(value: torch.Tensor, axis: int) -> torch.Tensor:
    return value.movedim(0, axis) if axis else value


def _moved_back(value: torch.Tensor, axis: int) -> torch.Tensor:
    return value.movedim(axis, 0) if axis else value


def _batch_axis(place: int, output: torch.Tensor) -> int:
    """The axis of the batch in an output of the network, which was followed with a symbol for its size."""
    axes = [at for at, size in enumerate(output.shape) if is_symbol(size)]
    if len(axes) != 1:
        raise BatchError(
            f"output {place} comes in the shape {list(output.shape)}, without a batch of its own"
        )
    return axes[0]


@dataclass(frozen=True)
class Batched:
    """The program, what it takes, and how that was read."""

    program: torch.export.ExportedProgram
    specs: tuple[TensorSpec, ...]
    reading: Reading


def batched(
    make: Callable[[bool], OnnxNetwork],
    inputs: Sequence[Input],
    dtypes: Sequence[str],
    options: Sequence[Reading],
    kept: Sequence[int],
    path: Path,
) -> Batched:
    """The program by the first reading that holds.

    `make` gives the network, with recurrent layers taken apart or not; `kept` are the places of the outputs
    that depend on the observation. Raises CheckpointError where none of the readings holds, with the reason
    of the first.
    """
    reasons: list[str] = []
    for reading in options:
        specs = tuple(
            TensorSpec(item.name, row_shape(item, axis), dtype)
            for item, axis, dtype in zip(inputs, reading.axes, dtypes, strict=True)
        )
        rows = _Rows(make(reading.looped).eval(), reading, kept)
        try:
            with quiet(), torch.no_grad():
                program = _exported(rows, specs)
                _require_same_rows(rows, program, specs)
            return Batched(program, specs, reading)
        except OperatorError as error:
            reasons.append(str(error))
        except (*EXPORT_ERRORS, BatchError) as error:
            reasons.append(named_line(error))
    first = options[0]
    what = "its batch cannot be made dynamic"
    if first.single:
        what = "it takes one observation without a batch, and a batch cannot be put in front"
    elif first.built_in is not None:
        what = f"its batch of {first.built_in} is built in, and cannot be made dynamic"
    raise CheckpointError(f"{path}: {what}: {reasons[0]}; export it with a dynamic batch")


def _exported(rows: _Rows, specs: Sequence[TensorSpec]) -> torch.export.ExportedProgram:
    mend_lstm_states()
    example = drawn(specs, EXAMPLE_BATCH, seed=0)
    shapes = torch.export.ShapesCollection()
    for value in example:
        shapes[value] = {0: torch.export.Dim("batch", min=1)}
    rows.network.batch = rows.reading.built_in
    try:
        program = torch.export.export(rows, example, dynamic_shapes=shapes.dynamic_shapes(rows, example))
    finally:
        rows.network.batch = None
    # Of a row-wise program the graph still says how it was made; taken apart it says what it computes.
    return program.run_decompositions({}) if rows.reading.looped else program


def _require_same_rows(
    rows: _Rows, program: torch.export.ExportedProgram, specs: Sequence[TensorSpec]
) -> None:
    """Raise BatchError unless the program gives every row what the file's network gives it."""
    size = rows.reading.built_in or 1
    count = max(ROWS, 2 * size)
    values = drawn(specs, count - count % size, seed=1)
    one_by_one = rows.reading.single or rows.reading.looped
    answers = [
        rows.one(*(value[at] for value in values))
        if one_by_one
        else rows.chunk([value[at : at + size] for value in values])
        for at in range(0, len(values[0]), size)
    ]
    join = torch.stack if one_by_one else torch.cat
    wanted = [join(list(parts)) for parts in zip(*answers, strict=True)]
    run = program.module(check_guards=False)
    for taken in (len(values[0]), 1, 2):
        result = run(*(value[:taken] for value in values))
        got = result if isinstance(result, tuple | list) else (result,)
        for place, (have, want) in enumerate(zip(got, wanted, strict=True)):
            said = _difference(have, want[:taken])
            if said is not None:
                raise BatchError(f"a batch of {taken} gives other rows in output {place}: {said}")


def _difference(have: torch.Tensor, want: torch.Tensor) -> str | None:
    if have.shape != want.shape or have.dtype != want.dtype:
        return f"{have.dtype} {list(have.shape)} instead of {want.dtype} {list(want.shape)}"
    if not want.dtype.is_floating_point:
        return None if torch.equal(have, want) else "other numbers"
    finite = want[want.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    limit = max(TOLERANCE, 16 * torch.finfo(want.dtype).eps) * scale
    if torch.allclose(have, want, rtol=0.0, atol=limit, equal_nan=True):
        return None
    return f"up to {float((have - want).abs().nan_to_num().max()):.3g} of {scale:.3g}"
