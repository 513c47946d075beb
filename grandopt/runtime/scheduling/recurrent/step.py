"""One step of a recurrent agent: from an observation and a state to an answer and the next state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.executors.observation import as_arrays
from grandopt.runtime.executors.session import arrangement, initial_state
from grandopt.signature import FITS, Array, Contract, Signature

State = tuple[Array, ...]
"""One array [*shape] per state tensor. Nothing writes to them: the next state is of other arrays, so that
calls which were given up, and answers that are views of a state, keep what they saw."""


class Step:
    """How an observation and a state make the inputs of an agent, and its outputs an answer and a state."""

    def __init__(self, signature: Signature, contract: Contract) -> None:
        inputs = {spec.name: spec for spec in signature.inputs}
        self.names = [tensor.input for tensor in contract.state]
        self.initial: State = tuple(
            [initial_state(tensor, inputs[tensor.input], 1)[0, ...] for tensor in contract.state]
        )
        """The state before the first call."""
        self.state_bytes = sum(array.nbytes for array in self.initial)
        self._states = Signature(tuple(inputs[name] for name in self.names))
        self._observed = Signature(signature.observed(contract))
        start = contract.episode_start
        # Always 0: a session that begins anew has the state before the first call.
        self._start = () if start is None else (np.zeros(inputs[start].shape, inputs[start].dtype),)
        taken = [spec.name for spec in self._observed.inputs] + ([] if start is None else [start])
        moved = [tensor.output for tensor in contract.state]
        outputs = [spec.name for spec in signature.outputs]
        kept = [name for name in outputs if name not in moved]
        self._kept = len(kept)
        self._into_inputs = arrangement([*taken, *self.names], list(inputs))
        self._from_outputs = arrangement(outputs, [*kept, *moved])
        only = self._observed.inputs[0]
        self._one = len(self._observed.inputs) == 1
        self._shape, self._dtype = only.shape, np.dtype(only.dtype)

    def fitting(self, observation: Sequence[Any]) -> tuple[Array, ...] | None:
        """The observation where it is a single array that can go in as it is, as most are; else None."""
        if not self._one or len(observation) != 1:
            return None
        array = observation[0]
        if type(array) is np.ndarray and array.dtype == self._dtype and array.shape == self._shape:
            return (array,) if array.flags.num & FITS == FITS else None
        return None

    def converted(self, observation: Sequence[Any]) -> tuple[tuple[Array, ...], tuple[bool, bool]]:
        """Any observation as arrays [*shape], and whether it had a batch and whether it was of tensors."""
        arrays, batched, tensors = as_arrays(self._observed, observation)
        if len(arrays[0]) != 1:
            raise SignatureError(
                f"a session answers one observation at a time, but was given a batch of {len(arrays[0])}"
            )
        return tuple([array[0, ...] for array in arrays]), (batched, tensors)

    def inputs(self, arrays: tuple[Array, ...], state: State) -> tuple[Array, ...]:
        """All inputs of the agent, in calling order."""
        given = (*arrays, *self._start, *state)
        return given if self._into_inputs is None else self._into_inputs(given)

    def parted(self, results: tuple[Array, ...]) -> tuple[tuple[Array, ...], State]:
        """The outputs that are no state, and the next state: copied, as a row keeps its whole batch alive."""
        if self._from_outputs is not None:
            results = self._from_outputs(results)
        kept = self._kept
        return results[:kept], tuple([np.array(value, order="C") for value in results[kept:]])

    def state_of(self, values: Mapping[str, Any]) -> State:
        """A state that a caller gave, checked: arrays [*shape]."""
        arrays, _ = self._states.prepare(self._states.order(values))
        if len(arrays[0]) != 1:
            raise SignatureError(f"a session has one state, but was given a batch of {len(arrays[0])}")
        return tuple([array[0, ...].copy() for array in arrays])
