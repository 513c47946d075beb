"""One connection, frame by frame: what is answered, and how it ends where the client breaks the rules."""

from __future__ import annotations

import asyncio
import gzip
import random
import struct
import zlib

import pytest

from grandopt.serving.grpc.http2 import frames
from tests.serving.grpc.http2.wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH,
    RESET,
    SETTINGS,
    WINDOW,
    Client,
    answers,
    asked,
    clean,
    head,
    in_loop,
    made,
    message,
)
from tests.serving.grpc.test_fuzz import PREFACE, frame, literal, mutated

GREETING = PREFACE + frame(SETTINGS, 0, 0, b"")


def test_a_call_is_answered() -> None:
    def body() -> None:
        service = made()
        with clean(service):
            client = Client(service)
            settings = client.hears()
            assert [one.kind for one in settings] == [SETTINGS, WINDOW, SETTINGS]
            assert settings[2].flags == ACK
            for stream in (1, 3, 5):  # read, remembered, known
                client.says(asked(stream))
                first, data, last = client.hears()
                assert (first.kind, first.flags, first.stream) == (HEADERS, END_HEADERS, stream)
                assert (data.flags, data.payload) == (0, message(b"abc"))
                assert last.flags == END_HEADERS | END_STREAM
                assert client.status(stream, [first, last]) == (0, "")

    in_loop(body)


@pytest.mark.parametrize("call", ["Echo", "Stream"])
def test_it_does_not_matter_how_the_bytes_are_cut(call: str) -> None:
    def body() -> None:
        chance, service = random.Random(2), made()
        data = GREETING + b"".join(asked(stream, b"x" * stream, call) for stream in (1, 3, 5, 7))
        whole = Client(service, data).hears()
        for size in (1, 2, 3, 5, 8, 9, 10, 13, 50, 0):
            client, at = Client(service, b""), 0
            while at < len(data):
                end = at + (size or chance.randint(1, 60))
                client.says(data[at:end])
                at = end
            found = client.hears()
            for stream in (1, 3, 5, 7):
                assert answers(found, stream) == answers(whole, stream) == message(b"x" * stream)

    in_loop(body)


def test_headers_come_in_parts_padded_and_with_priorities() -> None:
    def body() -> None:
        client = Client(made())
        block = head()
        padded = bytes((3,)) + struct.pack(">IB", 0, 16) + block[:10] + bytes(3)
        client.says(
            frame(HEADERS, PADDED | HAS_PRIORITY, 1, padded),
            frame(CONTINUATION, 0, 1, block[10:30]),
            frame(CONTINUATION, END_HEADERS, 1, block[30:]),
            frame(PRIORITY, 0, 1, bytes(5)),
            frame(77, 255, 1, b"of another time"),
            frame(DATA, PADDED | END_STREAM, 1, bytes((4,)) + message(b"abc") + bytes(4)),
        )
        assert answers(client.hears(), 1) == message(b"abc")

    in_loop(body)


def test_trailers_end_what_a_client_says() -> None:
    def body() -> None:
        client = Client(made())
        client.says(frame(HEADERS, END_HEADERS, 1, head()), frame(DATA, 0, 1, message(b"abc")))
        assert answers(client.hears(), 1) == b""
        client.says(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal("x", "y")))
        assert answers(client.hears(), 1) == message(b"abc")

    in_loop(body)


def test_pings_come_back() -> None:
    def body() -> None:
        client = Client(made())
        client.hears()
        client.says(frame(PING, 0, 0, b"12345678"), frame(PING, ACK, 0, b"87654321"))
        (pong,) = client.hears()
        assert (pong.kind, pong.flags, pong.payload) == (PING, ACK, b"12345678")

    in_loop(body)


P, F, Z = frames.PROTOCOL_ERROR, frames.FLOW_CONTROL_ERROR, frames.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (frame(DATA, 0, 1, b"x"), P),
        (frame(DATA, 0, 0, b"x"), P),
        (frame(HEADERS, END_HEADERS, 2, head()), P),
        (frame(HEADERS, END_HEADERS, 0, head()), P),
        (frame(HEADERS, END_HEADERS | PADDED, 1, bytes((200,)) + head()), P),
        (frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"1234"), Z),
        (frame(HEADERS, 0, 1, head()) + frame(PING, 0, 0, bytes(8)), P),
        (frame(HEADERS, 0, 1, head()) + frame(CONTINUATION, 4, 3, b""), P),
        (frame(CONTINUATION, END_HEADERS, 1, b""), P),
        (frame(HEADERS, END_HEADERS, 1, b"\x80"), frames.COMPRESSION_ERROR),
        (frame(PUSH, 0, 1, bytes(4)), P),
        (frame(PING, 0, 0, bytes(7)), Z),
        (frame(PING, 0, 1, bytes(8)), Z),
        (frame(SETTINGS, 0, 0, bytes(5)), Z),
        (frame(SETTINGS, ACK, 0, bytes(6)), Z),
        (frame(SETTINGS, 0, 1, b""), Z),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), F),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)), P),
        (frame(WINDOW, 0, 0, bytes(4)), P),
        (frame(WINDOW, 0, 0, bytes(3)), Z),
        (frame(WINDOW, 0, 0, struct.pack(">I", (1 << 31) - 1)), F),
        (frame(WINDOW, 0, 7, struct.pack(">I", 1)), Z),
        (frame(RESET, 0, 7, bytes(4)), Z),
        (frame(DATA, 0, 1, bytes(16_385)), Z),
        (b"\xff\xff\xff" + bytes(6), Z),
    ],
)
def test_a_connection_that_breaks_the_rules_is_told_so_and_ends(says: bytes, code: int) -> None:
    def body() -> None:
        service = made()
        with clean(service):
            client = Client(service)
            client.says(asked(1) if says[:4] == frame(DATA, 0, 1, bytes(16_385))[:4] else b"", says)
            found = client.goaway()
            assert found is not None
            assert found[0] == code
            assert found[1]

    in_loop(body)


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", b"\x16\x03\x01"]
)
def test_who_speaks_something_else_is_told_so(greeting: bytes) -> None:
    def body() -> None:
        assert Client(made(), greeting).goaway() == (P, "this is a port of gRPC, which is spoken over HTTP/2")

    in_loop(body)


@pytest.mark.parametrize(
    "block",
    [
        b"\x83\x86",
        head()[2:],
        head() + literal("Upper", "x"),
        head() + literal("connection", "close"),
        head() + b"\x83",
        literal("x", "y") + head(),
        head("Echo", ("grpc-timeout", "123456789S")),
        head("Echo", ("grpc-timeout", "5")),
    ],
)
def test_a_call_that_is_none_ends_alone(block: bytes) -> None:
    def body() -> None:
        client = Client(made())
        client.hears()
        client.says(frame(HEADERS, END_HEADERS | END_STREAM, 1, block), asked(3))
        first, *rest = client.hears()
        assert (first.kind, first.payload) == (RESET, struct.pack(">I", P))
        assert answers(rest, 3) == message(b"abc")

    in_loop(body)


def test_refusals_have_a_status_a_text_and_a_time() -> None:
    def body() -> None:
        client = Client(made(max_message_bytes=100))
        for stream in (1, 3):
            client.says(asked(stream, b"refused"))
            (block,) = (one.payload for one in client.hears() if one.stream == stream)
            said = dict(client.decoder.decode(block, 4096) or ())
            assert said[b"grpc-status"] == b"8"
            assert said[b"grpc-message"] == b"100 %25 %E2%80%93 full"
            assert said[b"grpc-retry-pushback-ms"] == b"2000"
        for stream, says, code in (
            (5, asked(5, call="None"), 12),
            (7, asked(7, b"x" * 101), 8),
            (9, frame(HEADERS, END_HEADERS | END_STREAM, 9, head()), 3),
            (11, frame(HEADERS, END_HEADERS, 11, head()) + frame(DATA, 1, 11, message(b"abc")[:-1]), 3),
            (13, frame(HEADERS, END_HEADERS, 13, head()) + frame(DATA, 1, 13, 2 * message(b"abc")), 3),
            (15, asked(15, b"abc", "Stream") + b"", 0),
            (17, frame(HEADERS, 4, 17, head("Stream")) + frame(DATA, 1, 17, message(b"abc")[:-1]), 3),
            (19, asked(19, b"abc", "Echo", ("grpc-encoding", "zstd")), 12),
            (21, asked(21, b"abc", "Echo", ("grpc-timeout", "0m")), 0),
        ):
            client.says(says)
            assert client.status(stream)[0] == code, stream
        none = b"\x83\x86" + literal(":path", "/a/Echo")
        web = none + literal("content-type", "application/grpc-web")
        for stream, block in ((23, b"\x82\x86" + head()[2:]), (25, none), (27, web)):
            client.says(frame(HEADERS, 5, stream, block))
            (found,) = (one.payload for one in client.hears() if one.stream == stream)
            assert client.decoder.decode(found, 4096) == [(b":status", b"415")]

    in_loop(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_messages_may_be_compressed(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress

    def body() -> None:
        service = made(max_message_bytes=10_000)
        client = Client(service)
        named = ("grpc-encoding", encoding)
        for stream, data, flag, code in (
            (1, pack(b"abc"), 1, 0),
            (3, b"abc", 0, 0),
            (5, pack(bytes(1_000_000)), 1, 8),
            (7, pack(b"abc")[:-1], 1, 3),
            (9, pack(b"abc") + b"x", 1, 3),
            (11, b"abc", 1, 3),
            (13, pack(b"abc"), 2, 13),
        ):
            opened = frame(HEADERS, END_HEADERS, stream, head("Echo", named))
            client.says(opened, frame(DATA, END_STREAM, stream, message(data, flag)))
            found = client.hears()
            assert client.status(stream, found)[0] == code, stream
            assert answers(found, stream) == (b"" if code else message(b"abc"))
        client.says(frame(HEADERS, END_HEADERS, 15, head()), frame(DATA, 1, 15, message(b"abc", 1)))
        assert client.status(15) == (
            13,
            "a message is marked as compressed, and the call names no grpc-encoding",
        )

    in_loop(body)


def test_metadata_has_a_limit_and_the_connection_goes_on() -> None:
    def body() -> None:
        client = Client(made(max_metadata_bytes=1000))
        client.says(asked(1, b"abc", "Echo", ("x", "y" * 126), *(("z", "y" * 100) for _ in range(8))))
        assert client.status(1) == (8, "the metadata has more than 1000 bytes, the limit")
        client.says(asked(3))
        assert answers(client.hears(), 3) == message(b"abc")
        client.says(frame(HEADERS, 0, 5, head()), *(frame(CONTINUATION, 0, 5, bytes(500)) for _ in range(5)))
        found = client.goaway()
        assert found is not None
        assert found[0] == frames.ENHANCE_YOUR_CALM

    in_loop(body)


def test_calls_end_at_their_deadline_and_with_their_client() -> None:
    async def run() -> None:
        service = made()
        with clean(service):
            client, other = Client(service), Client(service)
            client.says(asked(1, b"5", "Later", ("grpc-timeout", "20m")), asked(3, b"0.01", "Later"))
            client.says(asked(5, b"5", "Later"), frame(RESET, 0, 5, bytes(4)))
            other.says(asked(1, b"5", "Later"))
            assert service.calls == 3
            other.leaves()
            assert service.calls == 2
            await asyncio.sleep(0.1)
            found = client.hears()
            assert client.status(1, found) == (4, "the call's deadline is over")
            assert client.status(3, found) == (0, "")
            assert answers(found, 3) == message(b"0.01")

    in_loop(run)


def test_a_server_that_stops_ends_what_is_open_and_takes_nothing() -> None:
    async def run() -> None:
        service = made()
        with clean(service):
            client, idle = Client(service), Client(service)
            client.says(asked(1, b"0.02", "Later"), frame(HEADERS, END_HEADERS, 3, head("Stream")))
            service.stopping = True
            for connection in list(service.connections):
                connection.stop()
            assert idle.goaway() == (frames.NO_ERROR, "the server stops")
            client.says(asked(5))
            found = client.hears()
            assert next(one for one in found if one.kind == GOAWAY).payload[:4] == struct.pack(">I", 3)
            assert client.status(3, found)[0] == 14
            refusal = next(one for one in found if one.stream == 5)
            assert (refusal.kind, refusal.payload) == (RESET, struct.pack(">I", frames.REFUSED_STREAM))
            await asyncio.sleep(0.05)
            assert answers(client.hears(), 1) == message(b"0.02")
            assert client.transport.closed
            assert Client(service).goaway() == (frames.NO_ERROR, "the server stops")

    in_loop(run)


def test_changed_frames_are_answered_or_end_the_connection() -> None:
    """And nothing is left of any call, whatever it was."""

    def body() -> None:
        chance, service = random.Random(7), made()
        ended = 0
        with clean(service):
            for _ in range(1500):
                parts = [
                    frame(SETTINGS, 0, 0, struct.pack(">HI", 4, chance.choice((0, 10, 1 << 20)))),
                    asked(1),
                    frame(HEADERS, 0, 3, head("Stream")[:20])
                    + frame(CONTINUATION, 4, 3, head("Stream")[20:]),
                    frame(DATA, 0, 3, message(b"abc") * 3),
                    frame(WINDOW, 0, chance.choice((0, 3)), struct.pack(">I", 100)),
                    asked(5, b"refused"),
                    frame(RESET, 0, 3, bytes(4)),
                    frame(PING, 0, 0, bytes(8)),
                ]
                for place in chance.sample(range(len(parts)), chance.randint(1, 3)):
                    parts[place] = mutated(parts[place], chance)
                client = Client(service)
                client.says(*parts)
                assert len(client.transport.written) < 20_000
                ended += client.transport.closed
                client.hears()
                client.leaves()
        assert 0 < ended < 1500

    in_loop(body)
