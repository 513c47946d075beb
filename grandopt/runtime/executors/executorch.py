"""ExecuTorch with XNNPACK, in an environment of its own: measured in benchmarks, never shipped.

No torch is imported beyond what ExecuTorch's binding takes its tensors from.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.extension.pybindings import _portable_lib
from executorch.runtime import Runtime

from grandopt import limits
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.io_binding import Binding, BoundExecutor
from grandopt.signature import Array, Contract, Signature

SINGLE = "single.pte"
BATCH = "batch.pte"
"""The program for any batch, where ExecuTorch can run it so."""
SIGNATURE = "signature.json"

ERRORS = (RuntimeError, ValueError, TypeError)
LOADING_ERRORS = (OSError, RuntimeError, ValueError, TypeError)


def load(path: Path | str, *, trust: bool = False, threads: int | None = None) -> ExecuTorchExecutor:
    """The executor of the folder that `compiler.backends.executorch` wrote.

    `trust` has no meaning here: nothing is unpickled. `threads` becomes the size of the thread pool of this
    whole process. Raises ArtifactError when ExecuTorch cannot load a program.
    """
    folder = Path(path)
    if threads is not None:
        _portable_lib._unsafe_reset_threadpool(threads)
        torch.set_num_threads(threads)
    try:
        signature = Signature.from_json(limits.document((folder / SIGNATURE).read_bytes()))
        single = (folder / SINGLE).read_bytes()
        batch = (folder / BATCH).read_bytes() if (folder / BATCH).exists() else None
        return ExecuTorchExecutor(signature, single, batch)
    except LOADING_ERRORS as error:
        raise ArtifactError(f"{folder}: ExecuTorch cannot load it: {first_line(error)}") from error


class ExecuTorchExecutor(BoundExecutor):
    """An agent as a program of ExecuTorch for one observation, and perhaps one for several.

    Where there is none for several, a batch goes through the program for one, row by row.
    """

    def __init__(self, signature: Signature, single: bytes, batch: bytes | None) -> None:
        super().__init__(signature, Contract(), ERRORS)
        # The runtime reads the weights where the bytes lie, and does not keep them alive.
        self._contents = (single, batch)
        self._program = Runtime.get().load_program(single)
        self._batch_program = None if batch is None else Runtime.get().load_program(batch)
        self._several = None if self._batch_program is None else self._batch_program.load_method("forward")
        self._turn = threading.Lock()  # of the program for several; for one each binding has its own

    def _bind(self) -> Binding:
        arrays, _ = self._memory()
        tensors = tuple(torch.from_numpy(array) for array in arrays)
        # The object of C++ itself, and outputs in its own memory that are copied once, by numpy: with the
        # wrapper, which has torch copy them, a call of a small agent takes a fifth longer.
        method: Any = self._program.load_method("forward")._method

        def run(given: Sequence[Array]) -> tuple[Array, ...]:
            for bound, array in zip(arrays, given, strict=True):
                bound[...] = array
            return tuple([output.numpy().copy() for output in method(tensors, False)])

        def run_into(given: Sequence[Array], targets: Sequence[Array]) -> None:
            for bound, array in zip(arrays, given, strict=True):
                bound[...] = array
            for target, output in zip(targets, method(tensors, False), strict=True):
                target[...] = output.numpy()

        return Binding(run, run_into)

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if self._several is None:
            return self._row_by_row(inputs)
        with self._turn:
            outputs = self._several.execute(tuple(torch.from_numpy(array) for array in inputs))
        return tuple(output.numpy() for output in outputs)

    def _row_by_row(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        rows = [self.run([array[row : row + 1] for array in inputs]) for row in range(len(inputs[0]))]
        return tuple(np.concatenate(outputs) for outputs in zip(*rows, strict=True))
