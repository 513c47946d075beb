"""Executors whose engine works in memory that was bound to it in advance.

Telling an engine where the tensors of a call lie costs as much as running a small agent. For one observation
it is therefore told once, and each call copies its inputs there. Larger batches, whose sizes vary, go the
engine's ordinary way.
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
    """One observation at a time through memory of its own; for one thread at a time.

    `run` and `run_into` are those of an executor, without checks.
    """

    run: Callable[[Sequence[Array]], tuple[Array, ...]]
    run_into: Callable[[Sequence[Array], Sequence[Array]], None]


def keeping_nan(
    inputs: Sequence[Array], outputs: Sequence[Array], call: Callable[[], object]
) -> Callable[[], object]:
    """`call` that fills the floating-point outputs with NaN when an input is not finite.

    Integers have no NaN and no infinity, and kernels of reduced precision turn both into ordinary numbers: a
    broken sensor would become a confident action.
    """
    watched = [array for array in inputs if array.dtype.kind == "f"]
    spoilt = [array for array in outputs if array.dtype.kind == "f"]

    def called() -> None:
        call()
        for array in watched:
            if not np.isfinite(array).all():
                for output in spoilt:
                    output.fill(np.nan)

    return called


def broken_rows(inputs: Sequence[Array]) -> Array:
    """Which rows of a batch hold a number that is not finite: [B]."""
    rows = np.zeros(len(inputs[0]), np.bool_)
    for array in inputs:
        if array.dtype.kind == "f":
            rows |= ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return rows


def binding(inputs: Sequence[Array], outputs: Sequence[Array], call: Callable[[], object]) -> Binding:
    """The binding of an engine that reads `inputs` and writes `outputs`, arrays [1, *shape], in `call`."""

    def run(given: Sequence[Array]) -> tuple[Array, ...]:
        for bound, array in zip(inputs, given, strict=True):
            bound[...] = array
        call()
        return tuple([bound.copy() for bound in outputs])

    def run_one_to_one(given: Sequence[Array]) -> tuple[Array, ...]:
        the_input[...] = given[0]
        call()
        return (the_output.copy(),)

    def run_into(given: Sequence[Array], targets: Sequence[Array]) -> None:
        for bound, array in zip(inputs, given, strict=True):
            bound[...] = array
        call()
        for target, bound in zip(targets, outputs, strict=True):
            target[...] = bound

    if len(inputs) == len(outputs) == 1:
        # The commonest agent, without the loops: they are a tenth of a small agent's time.
        the_input, the_output = inputs[0], outputs[0]
        return Binding(run_one_to_one, run_into)
    return Binding(run, run_into)


class BoundExecutor(Executor):
    """An agent in an engine that is bound to memory for one observation.

    A call takes a binding that no other call has, and puts it back; there are as many as calls were ever
    running at the same moment. `errors` are what the engine raises in a call; they become EngineError. With
    `keep_nan` rows that are not finite are answered with NaN, whatever the engine makes of them.
    """

    def __init__(
        self,
        signature: Signature,
        contract: Contract,
        errors: tuple[type[Exception], ...],
        *,
        keep_nan: bool = False,
    ) -> None:
        super().__init__(signature, contract)
        self._errors = errors
        self._keep_nan = keep_nan
        self._idle: list[Binding] = []  # its pop and append are atomic
        self._outputs = tuple(((1, *spec.shape), np.dtype(spec.dtype)) for spec in signature.outputs)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        idle = self._idle
        try:
            if len(inputs[0]) != 1:
                return self._run_batch(inputs)
            try:
                bound = idle.pop()
            except IndexError:
                bound = self._bind()
            try:
                return bound.run(inputs)
            finally:
                idle.append(bound)
        except self._errors as error:
            self._fail(inputs, error)

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        if len(inputs[0]) != 1 or not self._fit(outputs):
            super().run_into(inputs, outputs)  # for another batch, or to say what does not fit
            return
        try:
            try:
                bound = self._idle.pop()
            except IndexError:
                bound = self._bind()
            try:
                bound.run_into(inputs, outputs)
            finally:
                self._idle.append(bound)
        except self._errors as error:
            self._fail(inputs, error)

    @abstractmethod
    def _bind(self) -> Binding:
        """A new binding of the engine."""

    @abstractmethod
    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """`run` for any batch; the caller owns what it returns."""

    def _run_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        broken = broken_rows(inputs) if self._keep_nan else None
        if broken is None or not broken.any():
            return self._any_batch(inputs)
        # Kept out of the call, because a scale that is found per call is one for all rows.
        kept = [array.copy() for array in inputs]
        for array in kept:
            array[broken] = 0
        outputs = self._any_batch(kept)
        for output in outputs:
            if output.dtype.kind == "f":
                output[broken] = np.nan
        return outputs

    def _binding(
        self, inputs: Sequence[Array], outputs: Sequence[Array], call: Callable[[], object]
    ) -> Binding:
        return binding(inputs, outputs, keeping_nan(inputs, outputs, call) if self._keep_nan else call)

    def _memory(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Arrays for the inputs and the outputs of one observation."""
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
