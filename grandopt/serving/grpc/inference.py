"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from grandopt.serving.grpc.http2.methods import Asker, Stream
from grandopt.serving.grpc.infer_request import RequestReader
from grandopt.serving.grpc.infer_response import (
    FINAL,
    write_response,
    write_stream_error,
    write_stream_response,
    write_stream_rows,
)
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.protocol.messages import InferRequest, InferResponse
from grandopt.signature import Array

WANTS_FINAL = "triton_enable_empty_final_response"
LONGEST_REST = 64
"""Requests of a stream that are asked one by one after some that could not be asked together, at most; at
first it is one of them, and each time twice as many."""


class Inference:
    """Both ways of asking, for one server."""

    def __init__(self, plane: DataPlane, window: int) -> None:
        self.window = window
        self._plane = plane
        self._reader = RequestReader()

    def infer(self, data: bytes, asker: Asker, left_s: float | None) -> bytes | asyncio.Future[InferResponse]:
        """One request: its answer, or a future of it; raises ProtocolError."""
        request = self._reader.read(data)
        answer = self._plane.infer(request if left_s is None else within(request, left_s))
        if isinstance(answer, InferResponse):
            return write_response(answer)
        return asyncio.ensure_future(answer)

    def ask(self, data: bytes, left_s: float | None) -> bytes | Asked:
        """One request of a stream: the bytes of its answer, if it is there; what is wrong is one, too."""
        request_id, final = "", False
        try:
            request = self._reader.read(data)
            request_id = request.id
            if WANTS_FINAL in request.parameters:
                request, final = _without_final(request)
            answer = self._plane.infer(request if left_s is None else within(request, left_s))
        except ProtocolError as error:
            return Asked(request_id, error)
        if isinstance(answer, InferResponse):
            return _written(answer, final)
        return Asked(request_id, asyncio.ensure_future(answer), final)

    def ask_many(self, messages: Array, over: Callable[[], bool]) -> AskedMany | None:
        """The first of some requests of a stream [n, size], of bytes, as far as they are answered together,
        until it is `over`; None where the first is to be asked alone."""
        many = self._reader.read_many(messages)
        if many is None:
            return None
        request, final = many.request, False
        if WANTS_FINAL in request.parameters:
            if type(request.parameters[WANTS_FINAL]) is not bool:
                return None
            request, final = _without_final(request)
        found = self._plane.infer_rows(request, many.data, over)
        if found is None:
            return None
        ids, rows = many.ids, found.rows
        refused_id = "" if found.refusal is None else ids[rows].tobytes().decode()
        refusal = None if found.refusal is None else Asked(refused_id, found.refusal)
        if not rows:
            return AskedMany(ids[:0], refusal)
        outputs = [(kind.name, kind.datatype, output) for kind, output in found.outputs]
        answers = write_stream_rows(found.model, found.version, ids[:rows], outputs, final=final)
        return AskedMany(answers, refusal)

    def stream(self, call: Stream) -> InferStream:
        """Where the requests of a stream go."""
        return InferStream(self, call)


class Asked(NamedTuple):
    """A request of a stream that has no answer yet, or a refusal."""

    id: str
    answer: asyncio.Future[InferResponse] | ProtocolError
    marks_final: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet."""
        return isinstance(self.answer, asyncio.Future) and not self.answer.done()


class AskedMany(NamedTuple):
    """The answers [m, size], as bytes, to the first of some requests, and the refusal of the next, if there
    is one."""

    answers: Array
    refusal: Asked | None


class InferStream:
    """Answers in the order of the requests, of which at most a window is under way."""

    def __init__(self, inference: Inference, call: Stream) -> None:
        self._inference, self._call = inference, call
        self._waiting: deque[bytes | Asked] = deque()
        self._ended = False
        self._refusal: ProtocolError | None = None
        """What it ends with, after all that was asked."""
        self._alone = self._rest = 0
        """How many are asked one by one before several are asked together again, and how many were last."""

    @property
    def room(self) -> bool:
        """Whether another message is taken now."""
        return not self._ended and len(self._waiting) < self._inference.window and not self._call.blocked

    @property
    def takes_many(self) -> bool:
        """Whether messages that come together may be answered together now."""
        return not (self._alone or self._waiting or self._ended or self._call.blocked)

    def messages(self, messages: Array) -> int:
        """Answer the first of some messages [n, size], of bytes, together; returns how many those are."""
        call = self._call
        asked = None if call.left_s is not None else self._inference.ask_many(messages, call.over)
        if asked is None:
            self._alone = self._rest = min(2 * self._rest + 1, LONGEST_REST)
            return 0
        self._rest = 0
        if len(asked.answers):
            call.write_many(asked.answers)
        if asked.refusal is None:
            return len(asked.answers)
        self._write(asked.refusal)
        return len(asked.answers) + 1

    def message(self, data: bytes) -> None:
        """Ask the data plane now; what has to be waited for is under way."""
        if self._alone:
            self._alone -= 1
        asked = self._inference.ask(data, self._call.left_s)
        if not self._waiting and not (isinstance(asked, Asked) and asked.is_open):
            self._write(asked)
            return
        self._waiting.append(asked)
        if isinstance(asked, Asked) and isinstance(asked.answer, asyncio.Future):
            asked.answer.add_done_callback(self._answered)

    def end(self) -> None:
        """No more will come: end when all is answered."""
        self._ended = True
        self._finish_if_answered()

    def stop(self) -> None:
        """The server stops: nothing more is asked."""
        if not self._ended:
            self._ended, self._refusal = True, ProtocolError(Code.UNAVAILABLE, "the server stops", 1.0)
            self._finish_if_answered()

    def gone(self) -> None:
        """What is under way is cancelled."""
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if isinstance(one, Asked) and isinstance(one.answer, asyncio.Future):
                one.answer.cancel()

    def _answered(self, answer: asyncio.Future[InferResponse]) -> None:
        """Write what is there now, up to the first that is not."""
        waiting = self._waiting
        if not waiting and not answer.cancelled():
            answer.exception()  # seen: nobody waits for it any more
        while waiting and not self._call.done:
            first = waiting[0]
            if isinstance(first, Asked) and first.is_open:
                break
            self._write(waiting.popleft())
        self._finish_if_answered()
        self._call.take()

    def _finish_if_answered(self) -> None:
        if self._ended and not self._waiting:
            self._call.finish(self._refusal)

    def _write(self, asked: bytes | Asked) -> None:
        """Write an answer that is there; a refusal is one, or ends the stream where that is asked for."""
        call = self._call
        if isinstance(asked, bytes):
            call.write(asked)
            return
        answer = asked.answer
        found = _outcome(answer) if isinstance(answer, asyncio.Future) else answer
        if isinstance(found, InferResponse):
            call.write(_written(found, asked.marks_final))
        elif call.asker.ends_on_error:
            call.finish(found)
        else:
            call.write(write_stream_error(str(found), asked.id))


def _written(found: InferResponse, marks_final: bool) -> bytes:
    if marks_final:
        found = found._replace(parameters={**found.parameters, FINAL: True})
    return write_stream_response(write_response(found))


def _outcome(answer: asyncio.Future[InferResponse]) -> InferResponse | ProtocolError:
    if answer.cancelled():
        return ProtocolError(Code.UNAVAILABLE, "the request was given up", 1.0)
    error = answer.exception()
    return answer.result() if error is None else refused(error)


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
