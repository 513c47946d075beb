"""Batches computed by replicas, each in one call through a deployment handle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from grandopt.distributed.ray.failures import translated
from grandopt.distributed.ray.frames import Frame
from grandopt.distributed.ray.replica import DIGEST_BYTES
from grandopt.errors import ServingError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.base import BatchBuffers, Done, Outcome, Workers
from grandopt.signature import Array, Signature

Send = Callable[[int, bytes], Awaitable[bytes]]
"""Sends a frame of so many rows to a replica; gives the frame of the answers, after the build's digest."""


class Elsewhere(Executor):
    """An agent that is computed by others: what is known of it here is its signature."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        raise ServingError("this agent is computed by replicas: await infer")


class RayCalls(Workers):
    """Calls under way, of which there are at most `size`.

    What is fixed of a call is most of its time: a further one is made beside one under way only where that
    has at least `full` rows, so that what comes meanwhile travels together.
    """

    kind = "ray"

    def __init__(self, agent: str, signature: Signature, send: Send, size: int) -> None:
        self._agent = agent
        self._send = send
        self._size = size
        self.full = 1
        """May be set."""
        self._inputs, self._outputs = Frame(signature.inputs), Frame(signature.outputs)
        self._buffers = BatchBuffers(signature)
        self._running: dict[asyncio.Task[Outcome], int] = {}
        self._loop = asyncio.get_running_loop()
        self.builds: dict[bytes, int] = {}
        """How many rows each build has answered, by its digest."""

    @property
    def size(self) -> int:
        """See Workers."""
        return self._size

    @property
    def idle(self) -> int:
        """See Workers."""
        if self._running and min(self._running.values()) < self.full:
            return 0
        return max(0, self._size - len(self._running))

    def rows(self, count: int) -> list[Array]:
        """See Workers."""
        return self._buffers.lend(count)

    def unused(self, inputs: Sequence[Array]) -> None:
        """See Workers."""
        self._buffers.give_back(inputs)

    def submit(self, inputs: Sequence[Array], done: Done) -> None:
        """See Workers."""
        task = self._loop.create_task(self._outcome(inputs))
        self._running[task] = len(inputs[0])

        def ended(task: asyncio.Task[Outcome]) -> None:
            del self._running[task]
            try:
                done(ServingError("the call was given up") if task.cancelled() else task.result())
            finally:
                self._buffers.give_back(inputs)

        task.add_done_callback(ended)

    def replace(self, executor: Executor) -> None:
        """See Workers; what replicas compute is deployed, not replaced here."""
        raise ServingError("replicas are replaced by a deployment")

    def resize(self, size: int) -> None:
        """See Workers."""
        self._size = max(1, size)

    async def close(self) -> None:
        """See Workers."""
        if self._running:
            await asyncio.wait(self._running)

    def abandon(self) -> None:
        """See Workers."""
        for task in list(self._running):
            task.cancel()

    async def _outcome(self, inputs: Sequence[Array]) -> Outcome:
        try:
            return await self.answers(inputs)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever Ray raises, callers are told
            return translated(error, self._agent)

    async def answers(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """One call; raises what Ray raises."""
        rows = len(inputs[0])
        data = await self._send(rows, self._inputs.packed(inputs))
        digest = data[:DIGEST_BYTES]
        self.builds[digest] = self.builds.get(digest, 0) + rows
        return tuple(self._outputs.unpacked(data[DIGEST_BYTES:], rows))
