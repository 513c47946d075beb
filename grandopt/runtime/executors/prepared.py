"""Executors of engines whose models are made for one batch size each."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from grandopt import limits
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.io_binding import Binding, BoundExecutor
from grandopt.signature import Array, Contract, Signature

SIGNATURE = "signature.json"


class PreparedExecutor(BoundExecutor):
    """An agent as one model per batch size; other batches go row by row through the model for one."""

    def __init__(
        self,
        signature: Signature,
        models: dict[int, Path],
        errors: tuple[type[Exception], ...],
        *,
        keep_nan: bool = False,
    ) -> None:
        super().__init__(signature, Contract(), errors, keep_nan=keep_nan)
        self._models = models
        self._several: dict[int, Binding] = {}
        self._turn = threading.Lock()  # of the models for several; for one each binding has its own

    @abstractmethod
    def _open(self, model: Path) -> Binding:
        """A binding of the engine to a new instance of a model."""

    def _bind(self) -> Binding:
        return self._open(self._models[1])

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        batch = len(inputs[0])
        if batch not in self._models:
            rows = [self.run([array[row : row + 1] for array in inputs]) for row in range(batch)]
            return tuple(np.concatenate(outputs) for outputs in zip(*rows, strict=True))
        with self._turn:
            if batch not in self._several:
                self._several[batch] = self._open(self._models[batch])
            return self._several[batch].run(inputs)


def opened(
    folder: Path, suffix: str, make: Callable[[Signature, dict[int, Path]], PreparedExecutor]
) -> PreparedExecutor:
    """The executor of a folder with models named by their batch size; its model for one is opened.

    Raises ArtifactError when the engine cannot load it.
    """
    try:
        signature = Signature.from_json(limits.document((folder / SIGNATURE).read_bytes()))
        models = {int(path.stem): path for path in folder.glob(f"*{suffix}")}
        executor = make(signature, models)
        executor.run([np.zeros((1, *spec.shape), spec.dtype) for spec in signature.inputs])
    except (OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise ArtifactError(f"{folder}: cannot be loaded: {first_line(error)}") from error
    return executor
