"""What all connections of an HTTP server share: the plane, the routes, the limits, and who is connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from grandopt.serving.http.answers import refusal
from grandopt.serving.http.compression import LEAST, LONG, deflated, inflated
from grandopt.serving.http.head import Head, read_head
from grandopt.serving.http.infer_request import Asked, asked
from grandopt.serving.http.infer_response import AnswerWriter, written
from grandopt.serving.http.inference import Plane
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.router import Router
from grandopt.serving.protocol.access import OPEN, Access
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.protocol.messages import InferRequest, InferResponse
from grandopt.serving.routes import EventStream, HttpRequest, HttpResponse, Route

_KEPT_HEADS, _LONGEST_HEAD = 512, 2048
_KEPT_TEXTS, _LONGEST_TEXT = 512, 1024
"""What is remembered of heads, and of JSON texts before binary tensors: clients send them over and over."""
INFER = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")


class Connected(Protocol):
    """A connection, as the server looks after it."""

    deadline: float

    def expire(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Call(NamedTuple):
    """A head, and what it asks for: the agent's `model` and `version`, or the `route` with its fields.

    `refusal` is the answer to what is refused whatever its body says.
    """

    head: Head
    route: Route
    fields: Mapping[str, str]
    model: str | None = None
    version: str = ""
    plain: bool = False
    """Whether the body is as it was sent, and so is the answer."""
    refusal: HttpResponse | None = None


class Service:
    """Answers one call at a time, without a connection; without a plane, pages alone.

    `ready` is False once the server stops: it answers no more inference then.
    """

    def __init__(
        self,
        plane: Plane | None,
        routes: Sequence[Route],
        limits: HttpLimits | None = None,
        access: Access = OPEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        """That of connections' turns, in seconds."""
        self._infer = _nobody if plane is None else plane.infer
        self.limits = limits or HttpLimits()
        self.access = access
        self.ready = True
        self.open = 0
        """Calls that were begun and not answered."""
        self.receiving = 0
        """Bytes that have come of bodies that are not whole yet."""
        self.bodies = 0
        """How many such bodies there are."""
        self.now = 0.0
        """The loop's time at the last tick, of which there is one a second."""
        self.connections: set[Connected] = set()
        infer = [] if plane is None else [Route("POST", path, _no_handler) for path in INFER]
        self.router = Router([*routes, *infer])
        self._calls: dict[tuple[bytes, bool], Call] = {}
        self._asked: dict[tuple[str, str, bytes], Asked] = {}
        self._writer = AnswerWriter()

    # ---- before the body ----------------------------------------------------------------------------------

    def call(self, text: bytes, local: bool) -> Call:
        """What a head asks for; raises ProtocolError for what is none."""
        known = self._calls.get((text, local))
        if known is None:
            head = read_head(text, self.limits)
            try:
                known = self._call(head, local)
            except ProtocolError as error:
                return Call(head, _NOWHERE, {}, refusal=refusal(error))
            if len(text) <= _LONGEST_HEAD:
                if len(self._calls) >= _KEPT_HEADS:
                    self._calls.clear()
                self._calls[text, local] = known
        if not self.ready and (known.model is not None or known.route.changes):
            stopping = ProtocolError(Code.UNAVAILABLE, "the server is stopping", 1.0)
            return known._replace(refusal=refusal(stopping))
        return known

    def _call(self, head: Head, local: bool) -> Call:
        if head.length > self.limits.body_bytes:
            raise ProtocolError(
                Code.TOO_LARGE, f"the body has {head.length} bytes, more than {self.limits.body_bytes}"
            )
        route, fields = self.router.find(head.method, head.path)
        authorization = head.headers.get("authorization")
        if not route.open:
            self.access.check(authorization, changes=route.changes, local=local, browser=head.browser)
        if route.path not in INFER:
            return Call(head, route, fields)
        plain = not (head.coding or head.accepts)
        return Call(head, route, fields, fields["model"], fields.get("version", ""), plain)

    # ---- inference ----------------------------------------------------------------------------------------

    def infer(self, call: Call, body: bytes) -> bytes | HttpResponse | Awaitable[HttpResponse]:
        """The answer to a call of inference: as bytes after the first line where it is a plain one."""
        if not call.plain:
            return self._coded(call, body)
        try:
            given, raw = self._given(call, body)
            response = self._infer(given.request(raw))
            if isinstance(response, InferResponse):
                return self._writer.at_once(response, given) or written(response, given)
        except ProtocolError as error:
            return refusal(error)
        return self._later(response, given)

    def _given(self, call: Call, body: bytes) -> tuple[Asked, bytes]:
        """What the JSON text of a body asks, and the bytes after it."""
        assert call.model is not None
        length = call.head.json_length
        if length is None:
            return asked(call.model, call.version, body, self.limits), b""
        if length > len(body):
            raise ProtocolError(
                Code.INVALID,
                f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes",
            )
        text = body[:length]
        key = call.model, call.version, text
        known = self._asked.get(key)
        if known is None:
            known = asked(call.model, call.version, text, self.limits)
            if known.lasting and length <= _LONGEST_TEXT:
                if len(self._asked) >= _KEPT_TEXTS:
                    self._asked.clear()
                self._asked[key] = known
        return known, body[length:]

    async def _later(self, response: Awaitable[InferResponse], given: Asked) -> HttpResponse:
        return written(await response, given)

    async def _coded(self, call: Call, body: bytes) -> HttpResponse:
        """The same for a body or an answer that is compressed."""
        given, raw = self._given(call, await self._plain(call.head, body))
        response = self._infer(given.request(raw))
        if not isinstance(response, InferResponse):
            response = await response
        return written(response, given)

    # ---- pages --------------------------------------------------------------------------------------------

    async def page(self, call: Call, body: bytes) -> HttpResponse | EventStream:
        """What a route's handler answers."""
        head = call.head
        body = await self._plain(head, body)
        request = HttpRequest(head.method, head.path, call.fields, head.query, head.headers, body)
        return await call.route.handler(request)

    async def answer(self, call: Call, body: bytes) -> tuple[HttpResponse, str]:
        """The answer to any call but one of events, and its coding ("" if none), for whoever has connections
        of their own."""
        if call.refusal is not None:
            return call.refusal, ""
        if self.open >= self.limits.in_flight:
            text = f"{self.limits.in_flight} requests are open, which is the limit"
            return refusal(ProtocolError(Code.OVERLOADED, text, 1.0)), ""
        self.open += 1
        try:
            found = await (self.page(call, body) if call.model is None else self._coded(call, body))
        except ProtocolError as error:
            return refusal(error), ""
        finally:
            self.open -= 1
        if isinstance(found, EventStream):
            return refusal(ProtocolError(Code.UNSUPPORTED, "events are not sent this way")), ""
        if not worth_coding(found, call.head.accepts):
            return found, ""
        return await self.coded(found, call.head.accepts), call.head.accepts

    # ---- compression --------------------------------------------------------------------------------------

    async def _plain(self, head: Head, body: bytes) -> bytes:
        if not head.coding:
            return body
        # A few bytes can become many: that is not for the event loop.
        return await asyncio.to_thread(inflated, body, head.coding, self.limits.inflated_bytes)

    async def coded(self, response: HttpResponse, coding: str) -> HttpResponse:
        """The answer compressed."""
        if len(response.body) < LONG:
            return response._replace(body=deflated(response.body, coding))
        return response._replace(body=await asyncio.to_thread(deflated, response.body, coding))


def worth_coding(response: HttpResponse, coding: str) -> bool:
    """Whether an answer to a client that accepts `coding` is compressed."""
    kind = response.content_type
    return bool(coding) and len(response.body) >= LEAST and not kind.startswith(("image/", "font/"))


def failed(error: BaseException) -> HttpResponse:
    """What an error is answered with, whatever it is."""
    return refusal(refused(error))


def _nobody(request: InferRequest) -> InferResponse:
    raise AssertionError("there is no route to inference here")


async def _no_handler(request: HttpRequest) -> HttpResponse:
    raise AssertionError("inference has no handler")


_NOWHERE = Route("", "", _no_handler)
