"""Batches computed on the event loop's own thread."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.errors import ConfigError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.base import BatchBuffers, Done, Workers, computed
from grandopt.signature import Array


class InlineWorker(Workers):
    """For agents that take less time than the way to another thread and back."""

    kind = "inline"

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._buffers = BatchBuffers(executor.signature)

    @property
    def size(self) -> int:
        """One."""
        return 1

    @property
    def idle(self) -> int:
        """One: whoever asks is on the thread that computes."""
        return 1

    def rows(self, count: int) -> list[Array]:
        """See Workers."""
        return self._buffers.lend(count)

    def unused(self, inputs: Sequence[Array]) -> None:
        """See Workers."""
        self._buffers.give_back(inputs)

    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        """See Workers; `done` is called before this returns."""
        try:
            outcome = computed(self._executor, inputs)
        except BaseException as error:  # a user's model may raise anything; its callers are told
            done(error)
            if isinstance(error, KeyboardInterrupt):
                raise  # that was meant for whoever runs the loop
        else:
            done(outcome)
        finally:
            self._buffers.give_back(inputs)

    def replace(self, executor: Executor) -> None:
        """See Workers."""
        self._executor = executor

    def resize(self, size: int) -> None:
        """One is all that there can be."""
        if size != 1:
            raise ConfigError(f"an agent that is computed inline has 1 worker, {size} are not possible")

    async def close(self) -> None:
        """Nothing runs between two calls."""
