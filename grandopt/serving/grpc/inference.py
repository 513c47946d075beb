"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from grandopt.serving.grpc.backlog import Asked, Backlog
from grandopt.serving.grpc.infer_request import RequestReader
from grandopt.serving.grpc.infer_response import write_response, write_stream_error, write_stream_response
from grandopt.serving.grpc.status import Context, abort
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InferRequest, InferResponse

WANTS_FINAL, FINAL = "triton_enable_empty_final_response", "triton_final_response"
ENDS_ON_ERROR = "triton_grpc_error"
"""The metadata by which a stream is to end, with a status, at its first error."""


class Inference:
    """Both ways of asking, for one server."""

    def __init__(self, plane: DataPlane, window: int) -> None:
        self._plane = plane
        self._window = window
        self._reader = RequestReader()

    async def infer(self, data: bytes, context: Context) -> bytes:
        """One request, one answer; what is wrong is the call's status."""
        try:
            request = self._reader.read(data)
            left = context.time_remaining()
            answer = self._plane.infer(request if left is None else within(request, left))
            return write_response(answer if isinstance(answer, InferResponse) else await answer)
        except ProtocolError as error:
            return await abort(context, error)

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answers in the order of the requests, of which at most a window is under way."""
        metadata = context.invocation_metadata() or ()
        ends = any(name == ENDS_ON_ERROR and value == "true" for name, value in metadata)
        write = partial(_write, context, ends)
        backlog = Backlog(self._window)
        reading = asyncio.ensure_future(self._read(requests, context, backlog))
        try:
            refusal = await backlog.written(write)
            if refusal is None:
                await reading  # it has ended; what it raised is the stream's
        finally:
            reading.cancel()
            reading.add_done_callback(_seen)
            backlog.give_up()
        if refusal is not None:
            await abort(context, refusal)

    async def _read(self, requests: AsyncIterator[bytes], context: Context, backlog: Backlog) -> None:
        try:
            async for data in requests:
                backlog.put(self._ask(data, context))
                if backlog.is_full:
                    await backlog.room()
        finally:
            backlog.end()

    def _ask(self, data: bytes, context: Context) -> Asked:
        """Ask the data plane now; what has to be waited for is under way."""
        request_id, final = "", False
        try:
            request = self._reader.read(data)
            request_id = request.id
            if WANTS_FINAL in request.parameters:
                request, final = _without_final(request)
            left = context.time_remaining()
            answer = self._plane.infer(request if left is None else within(request, left))
        except ProtocolError as error:
            return Asked(request_id, error)
        waited = answer if isinstance(answer, InferResponse) else asyncio.ensure_future(answer)
        return Asked(request_id, waited, final)


def _seen(reading: asyncio.Future[None]) -> None:
    """Nobody asks any more what ended the reading of a stream that has ended."""
    if not reading.cancelled():
        reading.exception()


async def _write(context: Context, ends: bool, one: Asked) -> ProtocolError | None:
    """Write the answer when it is there; with `ends`, a refusal is not written but given back."""
    try:
        if isinstance(one.answer, ProtocolError):
            raise one.answer
        found = one.answer if isinstance(one.answer, InferResponse) else await one.answer
    except ProtocolError as error:
        if ends:
            return error
        await context.write(write_stream_error(str(error), one.id))
        return None
    if one.marks_final:
        found = found._replace(parameters={**found.parameters, FINAL: True})
    await context.write(write_stream_response(write_response(found)))
    return None


def _without_final(request: InferRequest) -> tuple[InferRequest, bool]:
    wanted = request.parameters[WANTS_FINAL]
    if not isinstance(wanted, bool):
        raise ProtocolError(Code.INVALID, f"parameter {WANTS_FINAL} is {wanted!r:.40}; wanted a bool_param")
    rest = {name: value for name, value in request.parameters.items() if name != WANTS_FINAL}
    return request._replace(parameters=rest), wanted


def within(request: InferRequest, left_s: float) -> InferRequest:
    """The request with the time that its call has left, if that is less than its own timeout.

    Raises ProtocolError where there is none.
    """
    left = int(left_s * 1e6)
    if left <= 0:
        raise ProtocolError(Code.LATE, "the call's deadline is over")
    own = request.parameters.get("timeout", 0)
    if isinstance(own, int) and not isinstance(own, bool) and (own == 0 or own > left):
        return request._replace(parameters={**request.parameters, "timeout": left})
    return request
