"""What a client may not do, and how it is told."""

from __future__ import annotations

import asyncio
import random

import orjson
import pytest

from grandopt.errors import ConfigError
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.protocol.access import Access
from grandopt.serving.routes import HttpRequest, HttpResponse, Route
from tests.serving.http.planes import (
    Client,
    Doubling,
    closing,
    error,
    get,
    infer,
    json_body,
    post,
    run,
    serving,
)

SMALL = HttpLimits(
    body_bytes=2000,
    inflated_bytes=3000,
    header_bytes=1000,
    headers=10,
    url_bytes=200,
    chunks=20,
    tensors=2,
    connections=3,
    in_flight=2,
)
CHUNKED = {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        (infer(b"x" * 70_000)[:-70_000], 413, "the body has 70000 bytes, more than 2000"),
        (post("/v2/models/m/infer", **CHUNKED) + b"7D1\r\n", 413, "the body has more than 2000 bytes"),
        (post("/v2/models/m/infer", **CHUNKED) + b"1\r\n \r\n" * 21, 413, "more than 20 chunks"),
        (post("/v2/models/m/infer", **CHUNKED) + b"zz\r\n", 400, "not the size of a chunk: b'zz'"),
        (post("/v2/models/m/infer", **CHUNKED) + b"1\r\nab\r\n", 400, "a chunk is longer than its size"),
        (post("/v2/models/m/infer", **CHUNKED) + b"0\r\n" + b"a: b\r\n" * 999, 431, "4096 bytes of trailers"),
        (get("/v2", X="y" * 1000), 431, "the headers have more than 1000 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"x" * 2000, 431, "the headers have more than 1000 bytes"),
        (get("/v2", **{f"A{n}": n for n in range(10)}), 431, "more than 10 headers"),
        (get("/" + "x" * 300), 400, "the URL is longer than 200 bytes"),
        (b"\x16\x03\x01\x02\x00", 400, "not an HTTP request"),
        (b"GET / HTTP/1.1\n\n", 400, "not an HTTP request"),
        (b"GET / HTTP/3.0\r\n\r\n", 400, "not an HTTP request"),
        (post("/v2/models/m/infer", Content_Length="7"), 400, "not an HTTP request"),
        (
            post("/v2/models/m/infer", **CHUNKED).replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n"),
            400,
            "not an HTTP request",
        ),
        (post("/v2/models/m/infer", Transfer_Encoding="gzip, chunked"), 501, "'gzip, chunked' is not known"),
        (infer(b"", Inference_Header_Content_Length="-1"), 400, "must be a number of bytes, got '-1'"),
        (infer(b"", Inference_Header_Content_Length="9" * 30), 400, "must be a number of bytes"),
        (infer(b"{}", Content_Encoding="br"), 501, "Content-Encoding 'br' is not known"),
    ],
)
def test_a_limit_is_said_and_the_connection_closed(asked: bytes, status: int, words: str) -> None:
    async def test() -> None:
        async with serving(limits=SMALL) as (server, port):
            client = await Client.of(port)
            got, _, body = await client.ask(asked)
            assert got == status, body
            assert words in error(body)
            assert await client.ended()
            client.close()
            await asyncio.sleep(0.01)
            assert server.service.receiving == 0

    run(test)


def test_what_is_too_much_after_decompression_is_refused() -> None:
    import gzip
    import zlib

    async def test() -> None:
        async with serving(limits=SMALL) as (_, port):
            client = await Client.of(port)
            for body, coding, words in (
                (gzip.compress(b" " * 100_000), "gzip", "more than 3000 bytes after decompression"),
                (gzip.compress(json_body())[:-9], "gzip", "the body ends before its gzip stream does"),
                (zlib.compress(json_body()) + b"more", "deflate", "goes on after its deflate stream"),
                (b"nothing", "gzip", "the body is not gzip"),
            ):
                status, _, answer = await client.ask(infer(body, Content_Encoding=coding))
                assert status in (400, 413)
                assert words in error(answer)
            raw = zlib.compressobj(wbits=-15)
            body = raw.compress(json_body()) + raw.flush()
            assert (await client.ask(infer(body, Content_Encoding="deflate")))[0] == 200
            client.close()

    run(test)


def test_connections_and_open_requests_are_bounded() -> None:
    async def test() -> None:
        plane = Doubling(0.05)
        async with serving(plane, limits=SMALL) as (_, port):
            clients = [await Client.of(port) for _ in range(3)]
            await asyncio.sleep(0.01)
            more = await Client.of(port)
            status, headers, body = await more.answer()
            assert (status, error(body)) == (503, "3 connections are open, which is the limit")
            assert headers["retry-after"] == "1"
            for one in clients:
                one.writer.write(infer(json_body(), "slow"))
                await asyncio.sleep(0.005)
            answers = [await one.answer() for one in clients]
            assert [status for status, _, _ in answers] == [200, 200, 503]
            assert error(answers[2][2]) == "2 requests are open, which is the limit"
            for one in (*clients, more):
                one.close()

    run(test)


def test_inputs_are_bounded() -> None:
    async def test() -> None:
        async with serving(limits=SMALL) as (_, port):
            client = await Client.of(port)
            body = orjson.loads(json_body())
            body["inputs"] *= 3
            status, _, answer = await client.ask(infer(orjson.dumps(body)))
            assert (status, error(answer)) == (400, "more than 2 inputs")
            client.close()

    run(test)


def test_slow_clients_are_told_and_let_go() -> None:
    limits = HttpLimits(header_s=0.08, body_s=0.08, idle_s=0.08)

    async def test() -> None:
        async with serving(limits=limits) as (server, port):
            head, body, idle, silent = [await Client.of(port) for _ in range(4)]
            head.writer.write(b"GET / HT")
            body.writer.write(infer(json_body())[:-1])
            await idle.ask(infer(json_body()))
            status, _, text = await head.answer()
            assert (status, error(text)) == (408, "the headers took longer than 0.08 s")
            status, _, text = await body.answer()
            assert (status, error(text)) == (408, "the body took longer than 0.08 s")
            for one in (head, body, idle, silent):
                assert await one.ended()
                one.close()
            assert server.service.receiving == 0

    run(test)


@pytest.mark.parametrize("begun", [get("/v2")[:-4], infer(json_body([1.0]))[:-3]])
def test_what_a_slow_client_asked_before_is_still_answered(begun: bytes) -> None:
    async def test() -> None:
        limits = HttpLimits(header_s=0.1, body_s=0.1)
        async with serving(Doubling(0.5), limits=limits) as (_, port):
            client = await Client.of(port)
            client.writer.write(infer(json_body([2.0]), "slow") + begun)
            assert (await client.answer())[0] == 200
            assert (await client.answer())[0] == 408
            assert await client.ended()

    run(test)


LONG = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("first", [LONG % (b"/nothing", 90_000), LONG % (b"/echo", 200_000), b"GET\0"])
def test_what_comes_after_a_refused_request_is_no_request(first: bytes) -> None:
    async def test() -> None:
        plane = Doubling(0.2)
        async with serving(plane, limits=HttpLimits(body_bytes=100_000)) as (_, port):
            client = await Client.of(port)
            client.writer.write(infer(json_body([2.0]), "slow") + first)
            await asyncio.sleep(0.05)
            client.writer.write(infer(json_body([3.0])) * 3)
            assert (await client.answer())[0] == 200
            assert (await client.answer())[0] in (400, 404, 413)
            assert await client.ended()
            assert len(plane.requests) == 1

    run(test)


def test_a_client_that_reads_nothing_is_not_written_to_for_ever() -> None:
    async def test() -> None:
        plane = Doubling()
        limits = HttpLimits(write_s=0.2, idle_s=0.4)
        async with serving(plane, limits=limits) as (server, port):
            client = await Client.of(port)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            asked = infer(json_body([1.0] * 20_000))

            async def flood() -> None:
                for _ in range(1000):
                    client.writer.write(asked)
                    await asyncio.wait_for(client.writer.drain(), 5)

            with pytest.raises((ConnectionError, asyncio.TimeoutError)):
                await flood()
            assert len(plane.requests) < 500, "reading was held while nothing could be written"
            while server.service.connections:
                await asyncio.sleep(0.01)
            client.writer.transport.abort()

    run(test)


def test_changes_need_the_token_and_inference_too_where_it_is_for_all() -> None:
    async def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"{}")

    routes = [Route("POST", "/change", page, changes=True), Route("GET", "/look", page)]
    good, bad = {"Authorization": "bearer s3cret"}, {"Authorization": "Bearer S3cret"}

    async def test() -> None:
        for for_all in (False, True):
            async with serving(routes=routes, access=Access("s3cret", for_all)) as (_, port):
                client = await Client.of(port)
                status, headers, body = await client.ask(post("/change"))
                assert (status, headers["www-authenticate"]) == (401, "Bearer")
                assert "needs the server's token" in error(body)
                assert (await client.ask(post("/change", **bad)))[0] == 401
                assert (await client.ask(post("/change", **good)))[0] == 200
                assert (await client.ask(get("/look")))[0] == (401 if for_all else 200)
                assert (await client.ask(infer(json_body())))[0] == (401 if for_all else 200)
                assert (await client.ask(infer(json_body(), **good)))[0] == 200
                client.close()
        async with serving(routes=routes) as (_, port):
            client = await Client.of(port)
            assert (await client.ask(post("/change")))[0] == 200
            status, _, body = await client.ask(post("/change", Origin="http://elsewhere"))
            assert status == 403
            assert "a web page may not change" in error(body)
            client.close()

    run(test)


def test_a_port_in_use_and_an_unknown_host_are_said_in_one_line() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            with pytest.raises(ConfigError, match=f"port {port} cannot be had .*choose another"):
                await HttpServer(Doubling(), HttpOptions(port=port), []).start()
        with pytest.raises(ConfigError, match=r"--host 'no\.such\.host\.invalid'"):
            await HttpServer(Doubling(), HttpOptions("no.such.host.invalid"), []).start()
        with pytest.raises(ConfigError, match="the limit chunks must be positive, got 0"):
            HttpLimits(chunks=0)

    run(test)


SEEDS = (
    infer(json_body([1.0, 2.0])),
    get("/v2/health/ready"),
    post("/v2/models/m/infer", **CHUNKED) + b"5\r\n12345\r\n0\r\n\r\n",
    post("/v2/models/m/versions/1/infer", b'{"inputs":[]}aaaa', Inference_Header_Content_Length=13),
)


def mutated(draw: random.Random) -> bytes:
    data = bytearray(b"".join(draw.choice(SEEDS) for _ in range(draw.randint(1, 3))))
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[place] = draw.randrange(256)
            case 1:
                del data[place : place + draw.randint(1, 8)]
            case 2:
                data[place:place] = draw.choice(
                    [b"\r\n", b"\0", b"{", b"999999999", b": ", draw.randbytes(5)]
                )
            case 3:
                other = draw.choice(SEEDS)
                data[place:place] = other[: draw.randrange(len(other))]
        if not data:
            data = bytearray(b"x")
    return bytes(data)


async def fuzzed(count: int, seed: int) -> None:
    draw = random.Random(seed)
    limits = HttpLimits(header_s=0.3, body_s=0.3, idle_s=0.3)
    async with serving(limits=limits) as (server, port):
        Client.all.clear()

        async def one(data: bytes) -> None:
            client = await Client.of(port)
            try:
                client.writer.write(data)
                client.writer.write_eof()
                answer = await asyncio.wait_for(client.reader.read(), 20)
                assert not answer or answer.startswith(b"HTTP/1.1 "), answer
            except ConnectionError:
                pass  # a closed connection is an answer, too
            finally:
                client.writer.transport.abort()

        for _ in range(count // 20):
            await asyncio.gather(*[one(mutated(draw)) for _ in range(20)])
            Client.all.clear()
        client = await Client.of(port)
        assert (await client.ask(infer(json_body())))[0] == 200
        client.close()
        while len(server.service.connections) > 0:
            await asyncio.sleep(0.01)
        assert (server.service.open, server.service.receiving) == (0, 0)


def test_mutated_requests_get_an_answer_or_a_closed_connection() -> None:
    run(lambda: fuzzed(200, seed=1))


@pytest.mark.slow
def test_ten_thousand_mutated_requests() -> None:
    async def test() -> None:
        await fuzzed(10_000, seed=2)

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(closing(test, 300.0))
