"""Calls that hold a place without asking anything: bounded, so that others are answered beside them.

gRPC's own limit of calls under way counts each call from its headers on, and waits for its message for ever:
a few clients that open calls and send nothing would lock everybody out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from grandopt.serving.grpc.status import Context, abort
from grandopt.serving.protocol.errors import Code, ProtocolError

Unary = Callable[[bytes, Context], Awaitable[bytes]]
Answering = Callable[[bytes, Context], Awaitable[None]]
Streamed = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
RETRY_S = 1.0


class Arrivals:
    """Makes gRPC's handlers of those here, with a time for requests to arrive and a limit of streams.

    A call whose request has not come within `within_s` seconds is ended. At most `most_streams` calls are
    under way that may last as long as their clients want.
    """

    def __init__(
        self, within_s: float, most_streams: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._within_s, self._most_streams, self._clock = within_s, most_streams, clock
        self._since: dict[asyncio.Task[None], float] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._streams = 0
        self._sweeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """End late calls from now on."""
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def end(self) -> None:
        """End none any more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait((self._sweeping,))

    def unary(self, answer: Unary) -> grpc.RpcMethodHandler:
        """A call of one request and one response."""

        async def handle(requests: AsyncIterator[bytes], context: Context) -> bytes:
            return await answer(await self._arrived(context), context)

        # By gRPC a call of many requests, whose reading is ours: it costs no more.
        return grpc.stream_unary_rpc_method_handler(handle)

    def answering(self, answer: Answering) -> grpc.RpcMethodHandler:
        """A call of one request and many responses."""

        async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
            await answer(await self._arrived(context), context)

        return self.streamed(handle)

    def streamed(self, answer: Streamed) -> grpc.RpcMethodHandler:
        """A call of many requests and many responses."""

        async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
            if self._streams >= self._most_streams:
                many = f"{self._streams} streams are open, as many as there may be"
                await abort(context, ProtocolError(Code.OVERLOADED, many, RETRY_S))
            self._streams += 1
            try:
                await answer(requests, context)
            finally:
                self._streams -= 1

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _arrived(self, context: Context) -> bytes:
        """The request; the call is ended where there is none, or not in time."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = self._clock()
        try:
            found = await context.read()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            self._late.discard(task)
            task.uncancel()
            late = f"the request did not come within {self._within_s:g} s"
            await abort(context, ProtocolError(Code.LATE, late))
        finally:
            del self._since[task]
        if found is grpc.aio.EOF:
            await abort(context, ProtocolError(Code.INVALID, "the call ended without a request"))
        return bytes(found)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._within_s / 4)
            before = self._clock() - self._within_s
            for task in [task for task, since in self._since.items() if since < before]:
                self._late.add(task)
                task.cancel()
