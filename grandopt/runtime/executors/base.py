"""The contract of every executor."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grandopt.errors import SignatureError, UnsupportedError
from grandopt.signature import Array, Contract, Signature

if TYPE_CHECKING:
    from grandopt.runtime.executors.operators import OperatorTime
    from grandopt.runtime.executors.session import Session


class Executor(ABC):
    """A loaded agent.

    Thread safety: one executor may be called from several threads at once. Ownership: the caller owns
    what `run` returns; no later call changes it. An executor never writes to its inputs.

    `run` is the call that is verified and measured. Calling the executor like a function adds the checks
    and conversions of `Signature.prepare` around it.
    """

    contiguous = False
    """Whether the engine promises that all outputs of every batch are C-contiguous."""

    def __init__(self, signature: Signature, contract: Contract | None = None) -> None:
        self.signature = signature
        self.contract = contract or Contract()

    @abstractmethod
    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """One forward pass.

        `inputs` are C-contiguous arrays [B, *shape] of exactly the declared dtypes (see
        `Signature.prepare`); the result holds one array [B, *shape] per declared output.
        """

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Like `run`, but writes into the caller's arrays, which must have the outputs' shapes and dtypes.

        Raises SignatureError when an output has another shape or dtype or is read-only.
        """
        results = self.run(inputs)
        if len(outputs) != len(results):
            raise SignatureError(f"expected {len(results)} output array(s), got {len(outputs)}")
        for result, target in zip(results, outputs, strict=True):
            if target.shape != result.shape or target.dtype != result.dtype or not target.flags.writeable:
                raise SignatureError(
                    f"output array must be writeable, {result.dtype} {list(result.shape)}; got "
                    f"{target.dtype} {list(target.shape)}{'' if target.flags.writeable else ', read-only'}"
                )
            target[...] = result

    def __call__(self, *observation: Any) -> Any:
        """The agent as a function of one observation or a batch of them.

        Takes the inputs in order, or one mapping by input name (a Dict observation). Arrays without the
        batch dimension give outputs without it. NumPy in, NumPy out; torch tensors in, tensors out. One
        output is returned as it is, several as a tuple. Raises SignatureError for inputs that do not fit.
        """
        arrays, batched, tensors = as_arrays(self.signature, observation)
        return as_given(self.run(arrays), batched, tensors)

    def session(self, batch: int = 1) -> Session:
        """A stream of calls that keeps the agent's recurrent state, or `batch` of them side by side.

        It belongs to the calling thread. Raises SignatureError for an agent without state.
        """
        from grandopt.runtime.executors.session import Session  # most agents have no state

        return Session(self, batch)

    def operators(self, batches: Sequence[Sequence[Array]]) -> list[OperatorTime]:
        """Where the time of a call goes, the slowest operator first; averages over one call per batch.

        Raises UnsupportedError where the engine gives no times per operator. Not for use beside other calls.
        """
        raise UnsupportedError(f"{type(self).__name__} gives no times per operator")

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give back what the engine holds. Calling it twice is allowed; calling `run` afterwards is not."""


def as_arrays(signature: Signature, observation: Sequence[Any]) -> tuple[list[Array], bool, bool]:
    """What `Signature.prepare` makes of the arguments of a call, and whether torch tensors were among them.

    `observation` holds the inputs in order, or one mapping by input name.
    """
    values = observation
    if len(values) == 1 and isinstance(values[0], Mapping):
        values = signature.order(values[0])
    tensors = any(type(value).__module__.partition(".")[0] == "torch" for value in values)
    if tensors:
        values = tuple(_as_numpy(value) for value in values)
    arrays, batched = signature.prepare(values)
    return arrays, batched, tensors


def as_given(results: tuple[Any, ...], batched: bool, tensors: bool) -> Any:
    """The outputs in the form of the inputs: without the batch, as tensors, and one output by itself."""
    if not batched:
        results = tuple(result[0] for result in results)
    if tensors:
        torch = sys.modules["torch"]
        results = tuple(torch.as_tensor(result) for result in results)
    return results[0] if len(results) == 1 else results


def _as_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
