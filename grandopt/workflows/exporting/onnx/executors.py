"""The file as executors with the program's own signature: in ONNX Runtime, and as grandopt reads it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.onnx import reader
from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate
from grandopt.config.schema import AgentConfig
from grandopt.errors import BuildError, EngineError, first_line
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from grandopt.workflows.exporting.onnx.document import BATCH
from grandopt.workflows.exporting.onnx.form import Form

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""What a file answers: arrays by the names and in the layouts that it has."""


class FileExecutor(Executor):
    """A file that is called as its program is: `run` by the names of the file."""

    def __init__(self, program: Program, form: Form, run: Run) -> None:
        super().__init__(program.signature, program.contract)
        self._form = form
        self._run = run

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """One call, or as many as a file of a fixed batch takes for it."""
        size = self._form.batch or len(inputs[0])
        parts = [
            self._call([array[start : start + size] for array in inputs])
            for start in range(0, len(inputs[0]), size)
        ]
        return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))

    def _call(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """What the host would add is added."""
        form, own = self._form, self.signature
        values = dict(zip((spec.name for spec in own.inputs), inputs, strict=True))
        given = {port.name: port.to_file(values[port.spec.name]) for port in form.inputs}
        if form.packed is not None:
            given[form.packed.taken] = form.packed.to_file([values[spec.name] for spec in form.packed.inputs])
        if form.passed is not None:
            given[form.passed[0]] = np.zeros(len(inputs[0]), np.float32)
        found = self._run(given)
        results = {port.spec.name: port.from_file(found[port.name]) for port in form.outputs}
        if form.packed is not None:
            states = form.packed.from_file(found[form.packed.given])
            results |= dict(zip((spec.name for spec in form.packed.outputs), states, strict=True))
        return tuple(results[spec.name] for spec in own.outputs)


def in_onnxruntime(content: bytes, program: Program, form: Form) -> tuple[FileExecutor, str]:
    """The file in ONNX Runtime as a user gets it, with one thread; and the library's version.

    Raises BuildError where it does not take the file.
    """
    import onnxruntime

    from grandopt.runtime.executors.onnxruntime import ERRORS, PROVIDERS

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, too
    try:
        session = onnxruntime.InferenceSession(content, options, providers=PROVIDERS)
    except ERRORS as error:
        raise BuildError(
            f"{program.name}: ONNX Runtime does not take the file: {first_line(error)}"
        ) from error
    names = [item.name for item in session.get_outputs()]

    def run(given: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            return dict(zip(names, session.run(names, dict(given)), strict=True))
        except ERRORS as error:
            raise EngineError(f"ONNX Runtime could not run the file: {first_line(error)}") from error

    return FileExecutor(program, form, run), onnxruntime.__version__


def read_back(file: Path, program: Program, form: Form) -> FileExecutor:
    """The file as `optimize` reads it, told nothing; raises CheckpointError where it does not."""
    checkpoint = reader.load(program.name, AgentConfig(checkpoint=file))
    axes = {port.name: port.shape.index(BATCH) for port in (*form.inputs, *form.outputs)}
    return FileExecutor(program, form, _reread(checkpoint, axes))


def _reread(checkpoint: Checkpoint, axes: Mapping[str, int]) -> Run:
    """The checkpoint, which has all batches first, by the layouts of the file."""

    def run(given: Mapping[str, Array]) -> Mapping[str, Array]:
        rows = [np.moveaxis(given[spec.name], axes.get(spec.name, 0), 0) for spec in checkpoint.inputs]
        try:
            outputs = evaluate(checkpoint.module, [torch.from_numpy(row.copy()) for row in rows])
        except FORWARD_ERRORS as error:
            raise EngineError(f"the file as it was read could not be run: {first_line(error)}") from error
        return {
            name: np.ascontiguousarray(np.moveaxis(output.numpy(), 0, axes.get(name, 0)))
            for name, output in zip(checkpoint.output_names, outputs, strict=True)
        }

    return run
