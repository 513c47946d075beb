"""A recurrent agent with its state between the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from threading import get_ident
from typing import Any, Protocol

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.executors.observation import as_arrays, as_given
from grandopt.signature import FITS, Array, Contract, Signature, StateTensor, TensorSpec


class Stepped(Protocol):
    """What a session needs of an executor."""

    contiguous: bool
    signature: Signature
    contract: Contract

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """See `Executor.run`."""

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """See `Executor.run_into`."""


class EngineSession:
    """One stream of calls of an executor, or `batch` streams side by side, with the state of each.

    Thread safety: a session belongs to the thread that made it, and raises SignatureError in another; any
    number of sessions, in any threads, share one executor. Ownership: the state is the session's own; what
    goes in and what comes out is copied. A call that raises leaves the state as it was.

    `run` is the call that is verified and measured; calling the session like a function adds the checks and
    conversions of `Signature.prepare`. Both take the observations alone, and give the outputs that are no
    state. An input that marks the start of an episode is always 0 here: `reset` does what it would.

    NaN that gets into a stream's state stays there, as in the network itself, until that stream is reset.
    """

    def __init__(self, executor: Stepped, batch: int = 1) -> None:
        signature, contract = executor.signature, executor.contract
        if not contract.state:
            raise SignatureError("this agent keeps no state between calls: call it without a session")
        if not isinstance(batch, int) or batch < 1:
            raise SignatureError(f"the batch of a session must be a whole number from 1 on, got {batch!r}")
        signature.check_state(contract)
        self.batch = batch
        self.observed = Signature(signature.observed(contract))
        """The inputs that a call takes."""
        self._step, self._step_into = executor.run, executor.run_into
        self._contiguous = executor.contiguous
        self._thread = get_ident()
        inputs = {spec.name: spec for spec in signature.inputs}
        self._names = [tensor.input for tensor in contract.state]
        self._specs = [inputs[name] for name in self._names]
        self._initial = [
            initial_state(tensor, spec, batch)
            for tensor, spec in zip(contract.state, self._specs, strict=True)
        ]
        start = contract.episode_start
        self._start = () if start is None else (_zeros(inputs[start], batch),)
        # In a step everything lies observations first (or kept outputs), then the state.
        taken = [spec.name for spec in self.observed.inputs] + ([] if start is None else [start])
        moved = [tensor.output for tensor in contract.state]
        outputs = [spec.name for spec in signature.outputs]
        kept = [name for name in outputs if name not in moved]
        self._kept = len(kept)
        self._into_inputs = arrangement([*taken, *self._names], list(inputs))
        self._from_outputs = arrangement(outputs, [*kept, *moved])
        self._into_outputs = arrangement([*kept, *moved], outputs)
        only = self.observed.inputs[0]
        self._one = len(self.observed.inputs) == 1
        self._shape, self._rows, self._dtype = only.shape, (batch, *only.shape), np.dtype(only.dtype)
        self._state: tuple[Array, ...] = ()
        self._spare: tuple[Array, ...] = ()
        self.reset()

    def __call__(self, *observation: Any) -> Any:
        """The agent's answer to one observation per stream; the state moves on by one step.

        Takes the observations in order, or one mapping by input name: arrays [batch, *shape], or [*shape] in
        a session of one stream, which gives outputs without the batch. NumPy in, NumPy out; torch tensors
        in, tensors out. One output is returned as it is, several as a tuple. Raises SignatureError for
        observations that do not fit.
        """
        if self._one and len(observation) == 1:
            array = observation[0]
            # What fits already goes in as it is: the checks below take longer than a small agent.
            if type(array) is np.ndarray and array.dtype is self._dtype and array.flags.num & FITS == FITS:
                if array.shape == self._rows:
                    results = self.run((array,))
                    return results[0] if self._kept == 1 else results
                if self.batch == 1 and array.shape == self._shape:
                    results = self.run((array.reshape(self._rows),))
                    return results[0][0] if self._kept == 1 else tuple([result[0] for result in results])
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
        given: tuple[Array, ...] = (*observation, *self._start, *self._state)
        results = self._step(given if self._into_inputs is None else self._into_inputs(given))
        if self._from_outputs is not None:
            results = self._from_outputs(results)
        state = results[self._kept :]
        if not self._contiguous:
            state = tuple([np.ascontiguousarray(array) for array in state])
        self._state = state
        return results[: self._kept]

    def run_into(self, observation: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Like `run`, but writes into the caller's arrays; nothing is allocated where the engine allows it.

        The state is written into a second set of buffers, which then changes places with the first. Raises
        SignatureError when an output has another shape or dtype or is read-only.
        """
        if get_ident() != self._thread:
            self._refuse_thread()
        if len(outputs) != self._kept:
            raise SignatureError(f"expected {self._kept} output array(s), got {len(outputs)}")
        given: tuple[Array, ...] = (*observation, *self._start, *self._state)
        targets: tuple[Array, ...] = (*outputs, *self._spare)
        self._step_into(
            given if self._into_inputs is None else self._into_inputs(given),
            targets if self._into_outputs is None else self._into_outputs(targets),
        )
        self._state, self._spare = self._spare, self._state

    def reset(self, mask: Any = None) -> None:
        """Begin anew: all streams, or those where `mask` (booleans [batch]) is true."""
        self._require_thread()
        if mask is None:
            self._set(array.copy() for array in self._initial)
            return
        chosen = np.asarray(mask)
        if chosen.shape != (self.batch,) or chosen.dtype != np.bool_:
            raise SignatureError(
                f"the mask of a reset must be booleans [{self.batch}], got {chosen.dtype} "
                f"{list(chosen.shape)}"
            )
        arrays = [array.copy() for array in self._state]
        for array, initial in zip(arrays, self._initial, strict=True):
            array[chosen] = initial[chosen]
        self._set(arrays)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the state: one array [batch, *shape] per state input, by its name."""
        self._require_thread()
        return {name: array.copy() for name, array in zip(self._names, self._state, strict=True)}

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self._require_thread()
        signature = Signature(tuple(self._specs))
        arrays, batched = signature.prepare(signature.order(values))
        wrong = [array.shape[0] for array in arrays if array.shape[0] != self.batch]
        if wrong:
            given = f"a batch of {wrong[0]}" if batched else "a state without a batch"
            raise SignatureError(f"the session has {self.batch} stream(s), but was given {given}")
        self._set(array.copy() for array in arrays)

    def _set(self, arrays: Iterable[Array]) -> None:
        self._state = tuple(arrays)
        # Never the caller's arrays, and never twice the same.
        self._spare = tuple(np.empty_like(array) for array in self._state)

    def _require_thread(self) -> None:
        if get_ident() != self._thread:
            self._refuse_thread()

    def _refuse_thread(self) -> None:
        raise SignatureError(
            "a session belongs to the thread that made it; give each thread a session of its own (its "
            "`state` can be copied into another)"
        )


def initial_state(tensor: StateTensor, spec: TensorSpec, batch: int) -> Array:
    """The value [batch, *shape] of a state before the first call."""
    value = np.asarray(tensor.initial, dtype=spec.dtype)
    one = value if value.ndim == 0 else value.reshape(spec.shape)
    return np.ascontiguousarray(np.broadcast_to(one, (batch, *spec.shape)))


def _zeros(spec: TensorSpec, batch: int) -> Array:
    return np.zeros((batch, *spec.shape), spec.dtype)


def arrangement(given: Sequence[str], wanted: Sequence[str]) -> Callable[[Any], tuple[Array, ...]] | None:
    """What brings values in the order of the names `given` into that of `wanted`; None where they agree."""
    places = [list(given).index(name) for name in wanted]
    return None if places == list(range(len(places))) else itemgetter(*places)
