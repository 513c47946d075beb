"""Executors whose engine is a function of torch tensors, shared by the engines of torch.

The wrapping around the engine's own work is a few microseconds at most and is part of what is measured, so
the common shapes of an agent (one input, one output) have a `run` of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import EngineError, first_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.operators import OperatorTime
from grandopt.runtime.executors.options import option, positions
from grandopt.runtime.executors.shared import Shared
from grandopt.signature import Array, Contract, Signature

Forward = Callable[..., Any]

# What `torch.inference_mode` is made of: entering the Python class costs ten times as much per call.
_InferenceMode = torch._C._InferenceMode
_from_numpy = torch.from_numpy

CALL_ERRORS = (
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    torch.jit.Error,
)
"""What a call raises that cannot be done: an operator's own check, an index beyond a table, and what the
network's code says itself; the last is an archive's `assert` or `raise`."""


class TensorExecutor(Executor):
    """An agent with any number of inputs and outputs.

    `forward` takes one tensor per input and returns a tuple with one tensor per output, or the tensor itself
    where there is one output; what it returns must belong to the caller (see `owning`). Raises EngineError
    when torch cannot do a call, such as a quantized network on NaN.
    """

    def __init__(self, signature: Signature, contract: Contract, forward: Forward) -> None:
        super().__init__(signature, contract)
        self._forward = forward
        self._single = len(signature.outputs) == 1
        self.payload: Any = forward
        """What `forward` was made of, where its layers can be told apart."""
        self.holder: Shared[Any] | None = None
        """What keeps `forward` for other executors of the same payload."""

    def operators(self, batches: Sequence[Sequence[Array]]) -> list[OperatorTime]:
        from grandopt.runtime.executors.torch_profiler import operators  # the profiler is rarely needed

        return operators(self.run, self.payload, batches)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        try:
            with _InferenceMode(True):
                outputs = self._forward(*[_from_numpy(_writeable(array)) for array in inputs])
                if self._single:
                    return (outputs.numpy(),)
                return tuple([output.numpy() for output in outputs])
        except CALL_ERRORS as error:
            self._fail(inputs, error)

    def _fail(self, inputs: Sequence[Array], error: Exception) -> NoReturn:
        shapes = ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs)
        raise EngineError(f"torch could not run the agent on {shapes}: {first_line(error)}") from error


class OneInputExecutor(TensorExecutor):
    """An agent with one input and several outputs."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        array = inputs[0]
        try:
            with _InferenceMode(True):
                outputs = self._forward(_from_numpy(array if array.flags.writeable else array.copy()))
                return tuple([output.numpy() for output in outputs])
        except CALL_ERRORS as error:
            self._fail(inputs, error)


class OneToOneExecutor(TensorExecutor):
    """An agent with one input and one output."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        array = inputs[0]
        try:
            with _InferenceMode(True):
                return (self._forward(_from_numpy(array if array.flags.writeable else array.copy())).numpy(),)
        except CALL_ERRORS as error:
            self._fail(inputs, error)


def executor(artifact: Artifact, forward: Forward, holder: Shared[Any] | None = None) -> TensorExecutor:
    """The leanest executor for the artifact's signature around `forward`, which its payload became.

    The options say how `forward` behaves, found by running it when it was built: `returns` is "tensor", or
    "tuple" also for one output; `copied_inputs` that it writes into its inputs; `copied_outputs` lists the
    outputs that share memory with an input, a weight or each other. `holder` lives as long as the executor.
    """
    signature = artifact.manifest.parsed_signature()
    return behaving(
        signature,
        artifact.manifest.parsed_contract(),
        forward,
        returns=option(artifact, "returns", ("tensor", "tuple")),
        copied_inputs=option(artifact, "copied_inputs", (True, False)),
        copied_outputs=positions(artifact, "copied_outputs", len(signature.outputs)),
        holder=holder,
    )


def behaving(
    signature: Signature,
    contract: Contract,
    forward: Forward,
    *,
    returns: str,
    copied_inputs: bool,
    copied_outputs: Collection[int],
    holder: Shared[Any] | None = None,
) -> TensorExecutor:
    """The leanest executor around a `forward` that behaves so; see `executor`."""
    single, payload = len(signature.outputs) == 1, forward
    if returns == "tuple" and single:
        forward = _first_of(forward)
    if copied_inputs:
        forward = sparing(forward)
    forward = owning(forward, copied_outputs, single=single)
    kind = TensorExecutor
    if len(signature.inputs) == 1:
        kind = OneToOneExecutor if single else OneInputExecutor
    made = kind(signature, contract, forward)
    made.payload, made.holder = payload, holder
    return made


def sparing(forward: Forward) -> Forward:
    """`forward` on copies of its inputs."""
    return lambda *inputs: forward(*[value.clone() for value in inputs])


def owning(forward: Forward, copied: Collection[int], *, single: bool) -> Forward:
    """`forward` with the outputs at the positions `copied` cloned; itself where there are none."""
    if not copied:
        return forward
    if single:
        return lambda *inputs: forward(*inputs).clone(memory_format=torch.contiguous_format)

    def cloned(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(
            output.clone(memory_format=torch.contiguous_format) if index in copied else output
            for index, output in enumerate(forward(*inputs))
        )

    return cloned


def _first_of(forward: Forward) -> Forward:
    return lambda *inputs: forward(*inputs)[0]


def _writeable(array: Array) -> Array:
    # torch cannot express a read-only tensor and warns about such an array; engines never write to inputs,
    # but only a copy keeps that promise from resting on theirs.
    return array if array.flags.writeable else np.array(array)
