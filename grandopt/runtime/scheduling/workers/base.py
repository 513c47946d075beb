"""The contract of workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature

Outcome = tuple[Array, ...] | BaseException
"""What a batch gave: one array [rows, *shape] per output, or what was raised.

An agent may raise anything, such as the panic of an extension module, which is no Exception: whoever waits is
told of that, too."""
Done = Callable[[Outcome], None]


class Workers(ABC):
    """Compute batches with one executor.

    Thread safety: workers belong to one event loop and are called on its thread alone; so is `done`, exactly
    once for each batch. Ownership: arrays of `rows` belong to the borrower until `submit`, and
    then to the workers until after `done` has returned; the outputs belong to the receiver for good. Whatever
    an executor raises is handed to `done`, nothing is raised from `submit`.
    """

    kind: str
    """ "inline", "threads" or "processes"."""
    freed: Callable[[], None] | None = None
    """Called when a worker has become idle by anything but the end of a batch, such as a start."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many batches are computed at once."""

    @property
    @abstractmethod
    def idle(self) -> int:
        """How many batches more could be started now."""

    @abstractmethod
    def rows(self, count: int) -> list[Array]:
        """Buffers [count, *shape], one per input, to write a batch into."""

    @abstractmethod
    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        """Compute one batch; there must be an idle worker. `inputs` need not come from `rows`."""

    def unused(self, inputs: Sequence[Array]) -> None:  # noqa: B027 - some know by themselves
        """Take back arrays of `rows` that will not be submitted."""

    async def prepare(self, executor: Executor) -> None:  # noqa: B027 - most take any executor at once
        """Do what a `replace` with `executor` needs time for, while the one of now goes on serving."""

    @abstractmethod
    def replace(self, executor: Executor) -> None:
        """Compute later batches with `executor`, of the same signature; running ones end with the old one."""

    @abstractmethod
    def resize(self, size: int) -> None:
        """Compute up to `size` batches at once from now on; raises ConfigError where that cannot be."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for the running batches, and give back threads and memory. Twice is allowed."""

    def abandon(self) -> None:  # noqa: B027 - some hold nothing
        """Give back without a wait what can be; what runs on a thread ends by itself. Nothing is submitted
        afterwards."""


class BatchBuffers:
    """Input buffers that are used again, in pieces of at least `rows` rows."""

    def __init__(self, signature: Signature, rows: int = 64) -> None:
        self._specs = [(spec.shape, np.dtype(spec.dtype)) for spec in signature.inputs]
        self._least = rows
        self._free: list[list[Array]] = []
        self._lent: dict[int, list[Array]] = {}

    def lend(self, count: int) -> list[Array]:
        """One array [count, *shape] per input, with any content."""
        whole = self._free.pop() if self._free else []
        if not whole or len(whole[0]) < count:
            self._least = max(self._least, 1 << (count - 1).bit_length())
            whole = [np.empty((self._least, *shape), dtype) for shape, dtype in self._specs]
        lent = [array[:count] for array in whole]
        self._lent[id(lent[0])] = whole
        return lent

    def give_back(self, lent: Sequence[Array]) -> None:
        """Take back what was lent; arrays of others are left alone."""
        whole = self._lent.pop(id(lent[0]), None)
        if whole is not None:
            self._free.append(whole)

    @property
    def lent(self) -> int:
        """How many pieces are lent now."""
        return len(self._lent)


def computed(executor: Executor, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """What the executor gives for a batch, which is its receiver's for good.

    Raises SignatureError for what is not one array [rows, *…] per declared output, since answers would go to
    the wrong callers or to none; and what the executor raises.
    """
    outputs, rows = executor.run(inputs), len(inputs[0])
    declared = len(executor.signature.outputs)
    if not isinstance(outputs, (tuple, list)) or (declared and len(outputs) != declared) or not outputs:
        raise SignatureError(
            f"gave {_shown(outputs)} for {rows} observation(s), not a tuple of {declared or 'its'} output(s)"
        )
    for output in outputs:
        if not isinstance(output, np.ndarray) or not output.ndim or len(output) != rows:
            raise SignatureError(
                f"gave {_shown(output)} for {rows} observation(s), not an array [{rows}, ...]"
            )
    return own(outputs, inputs)


def own(outputs: Sequence[Array], inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs, copied where they lie in the memory of an input, which will be written to again."""
    return tuple([_own(output, inputs) for output in outputs])


def _own(output: Array, inputs: Sequence[Array]) -> Array:
    for array in inputs:
        if output is array or (output.base is not None and np.may_share_memory(output, array)):
            return output.copy()
    return output


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"{len(value)} output(s)"
    return f"{type(value).__name__}"
