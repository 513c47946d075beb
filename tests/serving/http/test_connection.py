"""Connections: pipelining, chunks, leave to send, ends, and streams of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import numpy as np
import orjson
import pytest

from grandopt.serving.http.connection import TURN_S
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InferRequest, InferResponse
from grandopt.serving.routes import EventStream, HttpRequest, HttpResponse, Route
from tests.serving.http.planes import (
    Client,
    Doubling,
    binary,
    error,
    get,
    infer,
    json_body,
    post,
    run,
    serving,
)


def values(body: bytes) -> list[float]:
    return orjson.loads(body)["outputs"][0]["data"]


async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, orjson.dumps([request.method, dict(request.fields), len(request.body)]))


async def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("no such luck")


async def refusing(request: HttpRequest) -> HttpResponse:
    raise ProtocolError(Code.OVERLOADED, "too many", 2.2)


PAGES = (
    Route("GET", "/echo/{name}", echo),
    Route("POST", "/echo/{name}", echo),
    Route("GET", "/broken", broken),
    Route("GET", "/refusing", refusing),
)


def test_pipelined_requests_are_answered_in_order_though_later_ones_are_done_first() -> None:
    async def test() -> None:
        async with serving(routes=PAGES) as (_, port):
            client = await Client.of(port)
            client.writer.write(
                infer(json_body([1.0]), "slow")
                + infer(json_body([2.0]))
                + get("/echo/a")
                + binary(np.full((1, 1), 4, np.float32), "FP32", "slow")
                + infer(json_body([3.0]))
            )
            assert values((await client.answer())[2]) == [2.0]
            assert values((await client.answer())[2]) == [4.0]
            assert orjson.loads((await client.answer())[2])[0] == "GET"
            _, headers, body = await client.answer()
            assert body[int(headers["inference-header-content-length"]) :] == np.float32(8).tobytes()
            assert values((await client.answer())[2]) == [6.0]
            client.close()

    run(test)


def test_pipelined_requests_let_others_have_their_turn() -> None:
    """A lone request of another connection waits for a turn, not for all that came before it."""

    class Slow(Doubling):
        """Takes 1 ms of the server's clock, and asks as another client when it is asked first."""

        now = 0.0
        other: Client

        def infer(self, request: InferRequest) -> InferResponse | Awaitable[InferResponse]:
            if not self.requests:
                self.other.writer.write(infer(json_body([1.0]), "lone"))
            self.now += 0.001
            return super().infer(request)

    async def test() -> None:
        plane = Slow()
        async with serving(plane) as (server, port):
            server.service.clock = lambda: plane.now
            first, plane.other = await Client.of(port), await Client.of(port)
            first.writer.write(infer(json_body([2.0])) * 200)
            assert values((await plane.other.answer())[2]) == [2.0]
            for _ in range(200):
                assert values((await first.answer())[2]) == [4.0]
            models = [request.model for request in plane.requests]
            assert len(models) == 201
            assert models.index("lone") <= 3 * TURN_S / 0.001

    run(test)


def test_more_pipelined_requests_than_the_limit_wait_and_are_all_answered() -> None:
    async def test() -> None:
        plane = Doubling(0.001)
        async with serving(plane, limits=HttpLimits(pipelined=3)) as (server, port):
            client = await Client.of(port)
            client.writer.write(b"".join(infer(json_body([float(n)]), "slow") for n in range(40)))
            for number in range(40):
                assert values((await client.answer())[2]) == [2.0 * number]
                assert server.service.open <= 3
            client.close()

    run(test)


@pytest.mark.parametrize(("count", "pipelined"), [(3, 3), (4, 3), (20, 3), (200, 64)])
def test_all_pipelined_requests_are_answered_to_a_client_that_sends_no_more(
    count: int, pipelined: int
) -> None:
    async def test() -> None:
        async with serving(Doubling(0.005), limits=HttpLimits(pipelined=pipelined)) as (_, port):
            client = await Client.of(port)
            client.writer.write(b"".join(infer(json_body([float(n)]), "slow") for n in range(count)))
            client.writer.write_eof()
            for number in range(count):
                assert values((await client.answer())[2]) == [2.0 * number]
            assert await client.ended()

    run(test)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_requests_that_arrive_in_pieces_are_the_same_requests(size: int) -> None:
    async def test() -> None:
        async with serving(routes=PAGES) as (_, port):
            client = await Client.of(port)
            body = json_body([1.0, 2.0])
            chunks = (
                b"3;x=y\r\n"
                + body[:3]
                + b"\r\n%X\r\n" % (len(body) - 3)
                + body[3:]
                + b"\r\n0\r\nA: b\r\n\r\n"
            )
            asked = (
                post("/v2/models/gate/infer", b"", Transfer_Encoding="chunked")
                + chunks
                + infer(json_body([3.0]))
                + get("/echo/x%2Fy")
            )
            for place in range(0, len(asked), size):
                client.writer.write(asked[place : place + size])
                if size > 2:
                    await client.writer.drain()
                await asyncio.sleep(0)
            assert values((await client.answer())[2]) == [2.0, 4.0]
            assert values((await client.answer())[2]) == [6.0]
            assert orjson.loads((await client.answer())[2])[1] == {"name": "x/y"}
            client.close()

    run(test)


def test_leave_to_send_is_given_once_it_is_due_and_not_for_what_is_refused() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            head, _, body = infer(json_body([1.0]), Expect="100-continue").partition(b"\r\n\r\n")
            client.writer.write(infer(json_body([5.0]), "slow") + head + b"\r\n\r\n")
            assert values((await client.answer())[2]) == [10.0]
            assert (await client.answer())[0] == 100
            assert values((await client.ask(body))[2]) == [2.0]
            status, _, _ = await client.ask(
                b"POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999\r\n\r\n"
            )
            assert status == 404
            assert await client.ended()
            client.close()

    run(test)


def test_the_connection_ends_as_the_client_wants() -> None:
    async def test() -> None:
        async with serving(routes=PAGES) as (_, port):
            client = await Client.of(port)
            _, headers, _ = await client.ask(infer(json_body(), Connection="close"))
            assert headers["connection"] == "close"
            assert await client.ended()
            client.close()
            client = await Client.of(port)
            old = get("/echo/a", Connection="keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
            _, headers, _ = await client.ask(old)
            assert headers["connection"] == "keep-alive"
            _, headers, _ = await client.ask(old.replace(b"Connection: keep-alive\r\n", b""))
            assert headers["connection"] == "close"
            assert await client.ended()
            client.close()
            client = await Client.of(port)
            client.writer.write(infer(json_body([1.0]), "slow"))
            client.writer.write_eof()
            assert values((await client.answer())[2]) == [2.0]
            assert await client.ended()
            client.close()

    run(test)


def test_a_client_that_goes_takes_its_requests_along() -> None:
    async def test() -> None:
        plane = Doubling(30.0)
        async with serving(plane, limits=HttpLimits(gone_s=0.05)) as (server, port):
            client = await Client.of(port)
            client.writer.write(infer(json_body(), "slow") * 3)
            while len(plane.requests) < 3:
                await asyncio.sleep(0.001)
            client.writer.transport.abort()
            while plane.cancelled < 3:
                await asyncio.sleep(0.001)
            assert server.service.open == 0
            assert not server.service.connections

    run(test)


def test_paths_and_methods_that_are_not_there_are_refused_and_the_connection_goes_on() -> None:
    async def test() -> None:
        async with serving(routes=PAGES) as (_, port):
            client = await Client.of(port)
            status, _, body = await client.ask(post("/v2/modles", b"{}"))
            assert (status, error(body)) == (404, "there is nothing at '/v2/modles'")
            status, headers, body = await client.ask(get("/v2/models/gate/infer"))
            assert (status, headers["allow"]) == (405, "POST")
            assert "only POST" in error(body)
            status, headers, body = await client.ask(get("/echo/a", "HEAD"), body=False)
            assert (status, headers["content-length"]) == (200, "23")
            status, headers, _ = await client.ask(get("/echo/a", "DELETE"))
            assert (status, headers["allow"]) == (405, "GET, HEAD, POST")
            assert (await client.ask(get("/echo/%ff")))[0] == 400
            assert (await client.ask(get("http://there/echo/b/?q=1")))[0] == 200
            status, _, body = await client.ask(get("/broken"))
            assert (status, error(body)) == (500, "the server failed: RuntimeError: no such luck")
            status, headers, _ = await client.ask(get("/refusing"))
            assert (status, headers["retry-after"]) == (503, "3")
            client.close()

    run(test)


def test_events_come_in_chunks_and_their_source_is_closed_with_the_client() -> None:
    closed = []

    async def events() -> AsyncIterator[bytes]:
        try:
            for number in range(1000):
                yield b"data: %d\n\n" % number
                await asyncio.sleep(0.001)
        finally:
            closed.append(True)

    async def page(request: HttpRequest) -> EventStream:
        return EventStream(events(), (("Cache-Control", "no-store"),))

    async def test() -> None:
        async with serving(routes=[Route("GET", "/events", page)]) as (server, port):
            client = await Client.of(port)
            _, headers, _ = await client.ask(get("/events"))
            assert headers["content-type"] == "text/event-stream"
            assert headers["transfer-encoding"] == "chunked"
            for number in range(3):
                event = b"data: %d\n\n" % number
                assert await client.reader.readexactly(len(event) + 5) == b"9\r\n" + event + b"\r\n"
            client.writer.transport.abort()
            while not closed:
                await asyncio.sleep(0.001)
            other = await Client.of(port)
            await other.ask(get("/events"))
            stopping = asyncio.ensure_future(server.stop(5.0))
            assert (await other.reader.read()).endswith(b"0\r\n\r\n"), "a stop ends the stream properly"
            await stopping
            other.close()
        assert len(closed) == 2

    run(test)


def test_a_stop_answers_what_was_asked_and_refuses_what_comes() -> None:
    async def test() -> None:
        plane = Doubling(0.1)
        async with serving(plane, routes=PAGES) as (server, port):
            client, other, idle = [await Client.of(port) for _ in range(3)]
            await idle.ask(get("/echo/a"))
            await other.ask(get("/echo/a"))
            other.writer.write(infer(json_body())[:-1])
            client.writer.write(infer(json_body([1.0]), "slow"))
            while not plane.requests:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            stopping = asyncio.ensure_future(server.stop(5.0))
            await asyncio.sleep(0.01)
            assert await idle.ended()
            other.writer.write(infer(json_body())[-1:])
            assert (await other.answer())[0] == 200, "it had begun before"
            fresh = await Client.of(port)
            status, headers, body = await fresh.ask(infer(json_body()))
            assert (status, error(body)) == (503, "the server is stopping")
            assert (headers["retry-after"], headers["connection"]) == ("1", "close")
            assert values((await client.answer())[2]) == [2.0]
            await stopping
            for one in (client, other, idle, fresh):
                assert await one.ended()
                one.close()
            with pytest.raises(ConnectionRefusedError):
                await Client.of(port)

    run(test)
