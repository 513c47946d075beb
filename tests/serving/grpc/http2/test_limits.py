"""Flow control in both directions, and what a client may ask for that is worth nothing."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from grandopt.serving.grpc.http2 import frames
from tests.serving.grpc.http2.wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RESET,
    SETTINGS,
    WINDOW,
    Busy,
    Client,
    answers,
    asked,
    clean,
    head,
    in_loop,
    made,
    message,
)
from tests.serving.grpc.test_fuzz import PREFACE, frame

CALM = frames.ENHANCE_YOUR_CALM


def window(stream: int, size: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">I", size))


def first_window(size: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, size))


@pytest.mark.parametrize("call", ["Echo", "Stream"])
def test_no_more_is_sent_than_the_client_takes(call: str) -> None:
    def body() -> None:
        service, data = made(), bytes(range(256)) * 12
        with clean(service):
            client = Client(service, PREFACE + first_window(10))
            client.says(asked(1, data, call), asked(3, b"abc", call))
            found = client.hears()
            assert len(answers(found, 1)) == 10
            assert answers(found, 3) == message(b"abc")
            said = answers(found, 1)
            for size in (1, 500, 1000):
                client.says(window(1, size))
                found = client.hears()
                assert len(answers(found, 1)) == size
                said += answers(found, 1)
            client.says(first_window(10_000))
            found = client.hears()
            assert said + answers(found, 1) == message(data)
            assert client.status(1, found) == (0, "")

    in_loop(body)


def test_the_window_of_all_calls_is_shared_in_turn() -> None:
    def body() -> None:
        service, data = made(), bytes(30_000)
        with clean(service):
            client = Client(service)
            calls = (1, 3, 5)
            for stream in calls:
                parts = message(data)
                opened = frame(HEADERS, END_HEADERS, stream, head())
                client.says(
                    opened, frame(DATA, 0, stream, parts[:16_000]), frame(DATA, 1, stream, parts[16_000:])
                )
            found = client.hears()
            assert sum(len(answers(found, stream)) for stream in calls) == 65_535
            client.says(window(0, 100_000))
            found += client.hears()
            assert [answers(found, stream) for stream in calls] == [message(data)] * 3

    in_loop(body)


def test_a_request_may_be_larger_than_its_window() -> None:
    def body() -> None:
        client = Client(made(call_window=20_000, connection_window=100_000))
        client.says(first_window(1 << 20), window(0, 1 << 20), frame(HEADERS, END_HEADERS, 1, head()))
        client.hears()
        data = message(bytes(200_000))
        left, at, found = {0: 100_000, 1: 20_000}, 0, []
        while at < len(data):
            size = min(left[0], left[1], 10_000, len(data) - at)
            assert size > 0, "the client was not told to go on"
            client.says(frame(DATA, int(at + size == len(data)), 1, data[at : at + size]))
            at += size
            left = {stream: room - size for stream, room in left.items()}
            for one in (found := client.hears()):
                if one.kind == WINDOW:
                    left[one.stream] += int.from_bytes(one.payload, "big")
        assert answers(found, 1) == data

    in_loop(body)


def test_who_takes_no_answers_is_not_told_to_go_on() -> None:
    def body() -> None:
        service, one = made(call_window=20_000), message(bytes(1000))
        with clean(service):
            client = Client(service, PREFACE + first_window(0))
            client.hears()
            client.says(
                frame(HEADERS, END_HEADERS, 1, head("Stream")), *(frame(DATA, 0, 1, one) for _ in range(19))
            )
            assert answers(client.hears(), 1) == b""
            assert service.receiving == 18 * len(one)
            client.says(window(1, 100_000), frame(DATA, END_STREAM, 1, one))
            found = client.hears()
            assert answers(found, 1) == 20 * one
            assert client.status(1, found) == (0, "")
            client.says(first_window(0), frame(HEADERS, END_HEADERS, 3, head("Stream")))
            client.says(*(frame(DATA, 0, 3, one) for _ in range(20)))
            reset = [one for one in client.hears() if one.kind == RESET]
            assert [one.payload for one in reset] == [struct.pack(">I", frames.FLOW_CONTROL_ERROR)]

    in_loop(body)


@pytest.mark.parametrize(
    ("flood", "most"),
    [
        (lambda number: asked(number, b"9", "Later") + frame(RESET, 0, number, bytes(4)), 2000),
        (lambda number: frame(HEADERS, 5, number, b"\x83"), 2000),
        (lambda number: frame(SETTINGS, 0, 0, b""), 1000),
        (lambda number: frame(PRIORITY, 0, 1, bytes(5)), 1000),
        (lambda number: frame(77, 0, 1, bytes(5)), 1000),
        (lambda number: frame(PING, 0, 0, bytes(8)), 4),
        (lambda number: frame(CONTINUATION, 0, 1, b"") if number > 1 else frame(HEADERS, 0, 1, head()), 1000),
        (lambda number: frame(DATA, 0, 1, b"") if number > 1 else frame(HEADERS, 4, 1, head()), 1000),
    ],
    ids=["resets", "bad calls", "settings", "priorities", "unknown", "pings", "continuations", "empty data"],
)
def test_floods_end_the_connection(flood, most: int) -> None:  # type: ignore[no-untyped-def]
    def body() -> None:
        service = made(max_calls_per_connection=5000)
        with clean(service):
            client, other = Client(service), Client(service)
            number = 1
            while not client.transport.closed:
                client.says(flood(number))
                number += 2
                assert number < 2 * most + 10
            found = client.goaway()
            assert found is not None
            assert found[0] == CALM
            other.says(asked(1))
            assert answers(other.hears(), 1) == message(b"abc")

    in_loop(body)


def test_a_client_may_give_up_half_of_its_calls() -> None:
    def body() -> None:
        service = made()
        with clean(service):
            client = Client(service)
            for stream in range(1, 20_001, 4):
                client.says(
                    asked(stream, b"9", "Later"), frame(RESET, 0, stream, bytes(4)), asked(stream + 2)
                )
            assert client.goaway() is None

    in_loop(body)


def test_pings_between_calls_are_no_flood() -> None:
    def body() -> None:
        client = Client(made())
        for stream in range(1, 99, 2):
            client.says(asked(stream), frame(PING, 0, 0, bytes(8)), frame(PING, 0, 0, bytes(8)))
        client.says(frame(HEADERS, END_HEADERS, 99, head("Stream")), *[frame(PING, 0, 0, bytes(8))] * 50)
        assert client.goaway() is None

    in_loop(body)


@pytest.mark.parametrize("call", ["Echo", "Stream"])
def test_answers_wait_for_a_client_that_does_not_read(call: str) -> None:
    """With their calls, which are so many, and not in a buffer that has no end."""

    def body() -> None:
        service, data = made(), bytes(100)
        with clean(service):
            client = Client(service)
            client.hears()
            client.connection.pause_writing()
            client.says(*(asked(stream, data, call) for stream in range(1, 21, 2)))
            assert not any(answers(client.hears(), stream) for stream in range(1, 21, 2))
            assert service.calls == 10
            client.connection.resume_writing()
            found = client.hears()
            assert [answers(found, stream) for stream in range(1, 21, 2)] == [message(data)] * 10
            assert client.status(19, found) == (0, "")

    in_loop(body)


def test_a_client_that_does_not_read_is_not_read() -> None:
    def body() -> None:
        service = made(request_s=60.0)
        client = Client(service)
        client.connection.pause_writing()
        assert client.transport.reads_nothing
        client.connection.resume_writing()
        assert not client.transport.reads_nothing
        service.tick(1000.0)
        assert not client.transport.closed
        client.connection.pause_writing()
        service.tick(1061.0)
        assert client.transport.closed

    in_loop(body)


@pytest.mark.parametrize("call", ["Busy", "BusyStream"])
def test_a_connection_that_asks_much_lets_others_have_their_turn(call: str) -> None:
    async def body() -> None:
        service, count = made(time.monotonic), 20
        with clean(service):
            client = Client(service)
            client.says(frame(HEADERS, END_HEADERS, 1, head(call)), frame(DATA, 1, 1, message(b"0")))
            client.hears()
            one = message(b"0.002")
            if call == "Busy":
                client.says(*(asked(stream, b"0.002", call) for stream in range(3, 3 + 2 * count, 2)))
            else:
                client.says(frame(HEADERS, END_HEADERS, 3, head(call)), *[frame(DATA, 0, 3, one)] * count)
                client.says(frame(DATA, END_STREAM, 3, one))
            found, turns = client.hears(), 0
            assert 0 < sum(one.kind == DATA for one in found) < count, "all were answered in one turn"
            while service.calls:
                await asyncio.sleep(0)
                turns += 1
            found += client.hears()
            assert turns > 3
            if call == "Busy":
                assert all(answers(found, stream) == one for stream in range(3, 3 + 2 * count, 2))
            else:
                assert answers(found, 3) == one * (count + 1)

    in_loop(body)


def test_what_is_given_up_while_it_waits_is_not_computed() -> None:
    async def body() -> None:
        service = made(time.monotonic)
        with clean(service):
            client = Client(service)
            asks = [frame(DATA, 0, 1, message(b"0.01"))] * 20
            Busy.asked = 0
            client.says(
                frame(HEADERS, END_HEADERS, 1, head("BusyStream")), *asks, frame(RESET, 0, 1, bytes(4))
            )
            await asyncio.sleep(0.05)
            assert 0 < Busy.asked < 3

    in_loop(body)


def test_calls_streams_and_connections_are_bounded() -> None:
    def body() -> None:
        service = made(max_calls=3, max_streams=1, max_calls_per_connection=2, max_connections=2)
        with clean(service):
            client, other = Client(service), Client(service)
            found = Client(service).goaway()
            assert found == (CALM, "2 connections are open, the limit")
            client.says(*(asked(stream, b"9", "Later") for stream in (1, 3, 5)))
            assert [one.stream for one in client.hears() if one.kind == RESET] == [5]
            other.says(frame(HEADERS, END_HEADERS, 1, head("Stream")), asked(3))
            assert other.status(3) == (8, "3 calls are open, which is the limit")
            client.says(
                frame(RESET, 0, 1, bytes(4)),
                frame(HEADERS, END_HEADERS, 7, head("Stream")),
                frame(DATA, 0, 7, b""),
            )
            assert client.status(7) == (8, "1 streams are open, as many as there may be")
            for one in (client, other):
                one.leaves()

    in_loop(body)


def test_what_all_calls_keep_is_bounded() -> None:
    def body() -> None:
        service = made(receiving_bytes=25_000)
        with clean(service):
            client = Client(service)
            part = message(bytes(20_000))[:10_000]
            for stream in (1, 3, 5):
                client.says(frame(HEADERS, END_HEADERS, stream, head()), frame(DATA, 0, stream, part))
            assert client.status(5) == (8, "requests of 25000 bytes are being received, the limit")
            client.says(frame(DATA, END_STREAM, 1, message(bytes(20_000))[10_000:]))
            found = client.hears()
            assert client.status(1, found) == (0, "")
            assert service.receiving == 10_000
            client.leaves()

    in_loop(body)


def test_what_takes_too_long_ends() -> None:
    async def body() -> None:
        service = made(request_s=60.0, keepalive_s=500.0, keepalive_timeout_s=20.0)
        with clean(service):
            silent, client = Client(service, b"PRI"), Client(service)
            client.says(
                first_window(10), frame(HEADERS, END_HEADERS, 1, head()), frame(HEADERS, 4, 3, head("Stream"))
            )
            client.says(asked(5, bytes(100)))
            service.tick(5.0)
            assert not silent.transport.closed
            service.tick(11.0)
            assert silent.transport.closed
            service.tick(61.0)
            await asyncio.sleep(0)
            found = client.hears()
            assert client.status(1, found) == (4, "the request did not come within 60 s")
            assert [one.stream for one in found if one.kind == RESET and one.payload[3]] == [5]
            assert not any(one.stream == 3 for one in found)
            service.tick(600.0)
            assert [one.kind for one in client.hears()] == [PING]
            client.says(frame(PING, 1, 0, bytes(8)))
            service.tick(621.0)
            assert not client.transport.closed
            service.tick(1200.0)
            service.tick(1221.0)
            assert client.transport.closed
            client.leaves()

    in_loop(body)
