"""Executors whose engine works in memory that was bound to it in advance.

Telling an engine where the tensors of a call lie costs as much as running a small agent. For one observation
it is therefore told once: each call copies its inputs there and its outputs out. Larger batches, whose sizes
vary, go the engine's ordinary way.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from grandopt.errors import EngineError, first_line
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature


@dataclass(frozen=True, slots=True)
class Binding:
    """Arrays [1, *shape] that the engine reads and writes in `call`. For one thread at a time."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    call: Callable[[], object]


class BoundExecutor(Executor):
    """An agent in an engine that imports no torch.

    A call takes a binding that no other call has, and puts it back; there are as many as calls were ever
    running at the same moment. `errors` are what the engine raises in a call; they become EngineError.
    """

    def __init__(self, signature: Signature, contract: Contract, errors: tuple[type[Exception], ...]) -> None:
        super().__init__(signature, contract)
        self._errors = errors
        self._idle: list[Binding] = []  # its pop and append are atomic
        self._outputs = tuple(((1, *spec.shape), np.dtype(spec.dtype)) for spec in signature.outputs)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        try:
            if len(inputs[0]) != 1:
                return self._run_batch(inputs)
            binding = self._take()
            try:
                for bound, array in zip(binding.inputs, inputs, strict=True):
                    bound[...] = array
                binding.call()
                return tuple([bound.copy() for bound in binding.outputs])
            finally:
                self._idle.append(binding)
        except self._errors as error:
            self._fail(inputs, error)

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        if len(inputs[0]) != 1 or not self._fit(outputs):
            super().run_into(inputs, outputs)  # for another batch, or to say what does not fit
            return
        try:
            binding = self._take()
            try:
                for bound, array in zip(binding.inputs, inputs, strict=True):
                    bound[...] = array
                binding.call()
                for target, bound in zip(outputs, binding.outputs, strict=True):
                    target[...] = bound
            finally:
                self._idle.append(binding)
        except self._errors as error:
            self._fail(inputs, error)

    @abstractmethod
    def _bind(self) -> Binding:
        """A new binding of the engine for one observation."""

    @abstractmethod
    def _run_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """`run` for any batch; the caller owns what it returns."""

    def _take(self) -> Binding:
        try:
            return self._idle.pop()
        except IndexError:
            return self._bind()

    def _empty(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Arrays for the inputs and outputs of one observation."""
        inputs = tuple(np.zeros((1, *spec.shape), spec.dtype) for spec in self.signature.inputs)
        return inputs, tuple(np.zeros(shape, dtype) for shape, dtype in self._outputs)

    def _fit(self, outputs: Sequence[Array]) -> bool:
        return len(outputs) == len(self._outputs) and all(
            output.shape == shape and output.dtype == dtype and output.flags.writeable
            for output, (shape, dtype) in zip(outputs, self._outputs, strict=True)
        )

    def _fail(self, inputs: Sequence[Array], error: Exception) -> NoReturn:
        shapes = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
        raise EngineError(f"the engine could not run the agent on {shapes}: {first_line(error)}") from error
