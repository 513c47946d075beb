"""The contract of every executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from grandopt.errors import SignatureError, UnsupportedError
from grandopt.runtime.executors.observation import as_arrays, as_given
from grandopt.signature import Array, Contract, Signature

if TYPE_CHECKING:
    from grandopt.runtime.executors.operators import OperatorTime
    from grandopt.runtime.executors.session import EngineSession


class Executor(ABC):
    """A loaded agent.

    Thread safety: one executor may be called from several threads at once. Ownership: the caller owns
    what `run` returns; no later call changes it. An executor never writes to its inputs.

    `run` is the call that is verified and measured. Calling the executor like a function adds the checks
    and conversions of `Signature.prepare` around it.
    """

    contiguous = False
    """Whether the engine promises that all outputs of every batch are C-contiguous."""
    flushes_denormals = False
    """Whether the engine counts denormals as zero, which is right then (see `verification.denormals`)."""

    run_each: Callable[[Sequence[Array]], tuple[Array, ...]] | None = None
    """As `run`, with the last bits that each observation of the batch has in a call of its own; None where
    that would take as long as those calls."""

    remake: Callable[[], Executor] | None = None
    """Makes the same agent in another process, and can be pickled; None where only this process has it."""

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

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Callable[[], None]:
        """A call without arguments, for loops over the same buffers: `run_into` whose checks are done now.

        `inputs` and `outputs` are a tuple or list with one array per declared tensor: [batch, *shape], or all
        of them [*shape], of exactly the declared dtypes, C-contiguous, aligned, the outputs writeable. (The
        native engine takes other buffers, too.) They stay alive as long as what is returned, and each call
        reads the inputs and writes the outputs as they are then.

        Calls of one bound agent from several threads at once are safe, but write the same outputs. The shape,
        dtype and flags of an array must not be changed afterwards, nor its memory, by `ndarray.resize`.
        Raises SignatureError for a wrong number of arrays, another dtype, shape or layout, an empty batch,
        unequal batches, and for an output that is read-only or overlaps another array.
        """
        from grandopt.runtime.executors.bound import checked  # most callers never bind

        return partial(self.run_into, *checked(self.signature, inputs, outputs))

    def __call__(self, *observation: Any) -> Any:
        """The agent as a function of one observation or a batch of them.

        Takes the inputs in order, or one mapping by input name (a Dict observation). Arrays without the
        batch dimension give outputs without it. NumPy in, NumPy out; torch tensors in, tensors out. One
        output is returned as it is, several as a tuple. Raises SignatureError for inputs that do not fit.
        """
        arrays, batched, tensors = as_arrays(self.signature, observation)
        return as_given(self.run(arrays), batched, tensors)

    def session(self, batch: int = 1) -> EngineSession:
        """A stream of calls that keeps the agent's recurrent state, or `batch` of them side by side.

        It belongs to the calling thread. Raises SignatureError for an agent without state.
        """
        from grandopt.runtime.executors.session import EngineSession  # most agents have no state

        return EngineSession(self, batch)

    def operators(self, batches: Sequence[Sequence[Array]]) -> list[OperatorTime]:
        """Where the time of a call goes, the slowest operator first; averages over one call per batch.

        Raises UnsupportedError where the engine gives no times per operator. Not for use beside other calls.
        """
        raise UnsupportedError(f"{type(self).__name__} gives no times per operator")

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give back what the engine holds. Calling it twice is allowed; calling `run` afterwards is not."""
