"""A recurrent agent with its state between the calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import Any

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor, as_arrays, as_given
from grandopt.signature import Array, Signature, StateTensor, TensorSpec


class Session:
    """One stream of calls of an executor, or `batch` streams side by side, with the state of each.

    Thread safety: a session belongs to the thread that made it, and raises SignatureError in another; any
    number of sessions, in any threads, share one executor. Ownership: the state is the session's own; what
    goes in and what comes out is copied. A call that raises leaves the state as it was.

    `run` is the call that is verified and measured; calling the session like a function adds the checks and
    conversions of `Signature.prepare`. Both take the observations alone, and give the outputs that are no
    state. An input that marks the start of an episode is always 0 here: `reset` does what it would.

    NaN that gets into a stream's state stays there, as in the network itself, until that stream is reset.
    """

    def __init__(self, executor: Executor, batch: int = 1) -> None:
        signature, contract = executor.signature, executor.contract
        if not contract.state:
            raise SignatureError("this agent keeps no state between calls: call it without a session")
        if not isinstance(batch, int) or batch < 1:
            raise SignatureError(f"the batch of a session must be a whole number from 1 on, got {batch!r}")
        signature.check_state(contract)
        inputs = {spec.name: place for place, spec in enumerate(signature.inputs)}
        outputs = {spec.name: place for place, spec in enumerate(signature.outputs)}
        self.batch = batch
        self.observed = Signature(signature.observed(contract))
        """The inputs that a call takes."""
        self._executor = executor
        self._thread = get_ident()
        self._contiguous = executor.contiguous
        self._tensors = contract.state
        self._specs = [signature.inputs[inputs[tensor.input]] for tensor in contract.state]
        self._places = [inputs[spec.name] for spec in self.observed.inputs]
        self._moves = [(inputs[tensor.input], outputs[tensor.output]) for tensor in contract.state]
        moved = {output for _, output in self._moves}
        self._kept = [place for place in range(len(outputs)) if place not in moved]
        self._inputs: list[Any] = [None] * len(inputs)
        self._targets: list[Any] = [None] * len(outputs)
        if contract.episode_start is not None:
            start = signature.inputs[inputs[contract.episode_start]]
            self._inputs[inputs[start.name]] = np.zeros((batch, *start.shape), start.dtype)
        self._initial = [
            _filled(tensor, spec, batch) for tensor, spec in zip(self._tensors, self._specs, strict=True)
        ]
        self.reset()

    def __call__(self, *observation: Any) -> Any:
        """The agent's answer to one observation per stream; the state moves on by one step.

        Takes the observations in order, or one mapping by input name: arrays [batch, *shape], or [*shape] in
        a session of one stream, which gives outputs without the batch. NumPy in, NumPy out; torch tensors
        in, tensors out. One output is returned as it is, several as a tuple. Raises SignatureError for
        observations that do not fit.
        """
        arrays, batched, tensors = as_arrays(self.observed, observation)
        if len(arrays[0]) != self.batch:
            raise SignatureError(
                f"the session has {self.batch} stream(s), but the observation has a batch of {len(arrays[0])}"
            )
        return as_given(self.run(arrays), batched, tensors)

    def run(self, observation: Sequence[Array]) -> tuple[Array, ...]:
        """One step on C-contiguous arrays [batch, *shape] of exactly the declared dtypes, without checks.

        The result holds one array [batch, *shape] per output that is no state.
        """
        if get_ident() != self._thread:
            self._refuse_thread()
        inputs = self._inputs
        for place, array in zip(self._places, observation, strict=True):
            inputs[place] = array
        results = self._executor.run(inputs)
        if self._contiguous:
            for place, output in self._moves:
                inputs[place] = results[output]
        else:
            for place, output in self._moves:
                inputs[place] = np.ascontiguousarray(results[output])
        return tuple([results[place] for place in self._kept])

    def run_into(self, observation: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Like `run`, but writes into the caller's arrays; nothing is allocated where the engine allows it.

        The state is written into a second set of buffers, which then changes places with the first. Raises
        SignatureError when an output has another shape or dtype or is read-only.
        """
        if get_ident() != self._thread:
            self._refuse_thread()
        if len(outputs) != len(self._kept):
            raise SignatureError(f"expected {len(self._kept)} output array(s), got {len(outputs)}")
        inputs, targets = self._inputs, self._targets
        for place, array in zip(self._places, observation, strict=True):
            inputs[place] = array
        for place, array in zip(self._kept, outputs, strict=True):
            targets[place] = array
        self._executor.run_into(inputs, targets)
        for place, output in self._moves:
            inputs[place], targets[output] = targets[output], inputs[place]

    def reset(self, mask: Any = None) -> None:
        """Begin anew: all streams, or those where `mask` (booleans [batch]) is true."""
        self._require_thread()
        if mask is None:
            self._set([array.copy() for array in self._initial])
            return
        chosen = np.asarray(mask)
        if chosen.shape != (self.batch,) or chosen.dtype != np.bool_:
            raise SignatureError(
                f"the mask of a reset must be booleans [{self.batch}], got {chosen.dtype} "
                f"{list(chosen.shape)}"
            )
        arrays = [self._inputs[place].copy() for place, _ in self._moves]
        for array, initial in zip(arrays, self._initial, strict=True):
            array[chosen] = initial[chosen]
        self._set(arrays)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the state: one array [batch, *shape] per state input, by its name."""
        self._require_thread()
        return {
            tensor.input: self._inputs[place].copy()
            for tensor, (place, _) in zip(self._tensors, self._moves, strict=True)
        }

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self._require_thread()
        signature = Signature(tuple(self._specs))
        arrays, batched = signature.prepare(signature.order(values))
        wrong = [array.shape[0] for array in arrays if array.shape[0] != self.batch]
        if wrong:
            given = f"a batch of {wrong[0]}" if batched else "a state without a batch"
            raise SignatureError(f"the session has {self.batch} stream(s), but was given {given}")
        self._set([array.copy() for array in arrays])

    def _set(self, arrays: Sequence[Array]) -> None:
        for (place, output), array in zip(self._moves, arrays, strict=True):
            self._inputs[place] = array
            self._targets[output] = np.empty_like(array)

    def _require_thread(self) -> None:
        if get_ident() != self._thread:
            self._refuse_thread()

    def _refuse_thread(self) -> None:
        raise SignatureError(
            "a session belongs to the thread that made it; give each thread a session of its own (its "
            "`state` can be copied into another)"
        )


def _filled(tensor: StateTensor, spec: TensorSpec, batch: int) -> Array:
    value = np.asarray(tensor.initial, dtype=spec.dtype)
    one = value if value.ndim == 0 else value.reshape(spec.shape)
    return np.ascontiguousarray(np.broadcast_to(one, (batch, *spec.shape)))
