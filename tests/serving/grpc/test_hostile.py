"""Clients of HTTP/2 that mean harm: others are answered beside them and after them, and memory is bounded."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest

from grandopt.serving.grpc.coding import encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.clients.process import serving
from tests.serving.grpc.asking import SERVICE, infer_request
from tests.serving.grpc.test_fuzz import PREFACE, answers_right, frame, literal

DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
REQUEST_S = 2.0
MORE_MB = 100
"""What a server may take for all that is done to it here."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, int]]:
    """Where it is, and its process."""
    with serving(request_s=REQUEST_S) as (addresses, process):
        yield addresses["grpc"], process.pid


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def connected(address: str) -> socket.socket:
    host, port = address.split(":")
    made = socket.create_connection((host, int(port)), 5.0)
    made.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
    return made


def head(call: str) -> bytes:
    names = ((":path", f"{SERVICE}/{call}"), (":authority", "x"), ("te", "trailers"))
    return b"\x83\x86" + b"".join(literal(*one) for one in (*names, ("content-type", "application/grpc")))


def message() -> bytes:
    data = encode(INFERENCE, "ModelInferRequest", infer_request("line", x=np.ones((1, 4), "f")))
    return struct.pack(">BI", 0, len(data)) + data


def half_open(connection: socket.socket, chance: random.Random) -> None:
    """As many calls as there may be of each kind, of which none says what it asks."""
    for number in range(1024):
        call = "ModelInfer" if number % 2 else "ModelStreamInfer"
        connection.sendall(frame(HEADERS, END_HEADERS, 2 * number + 1, head(call)))


def rapid_reset(connection: socket.socket, chance: random.Random) -> None:
    for number in range(3000):
        stream = 2 * number + 1
        reset = frame(RESET, 0, stream, struct.pack(">I", 8))
        connection.sendall(frame(HEADERS, END_HEADERS, stream, head("ModelStreamInfer")) + reset)


def cancelled_streams(connection: socket.socket, chance: random.Random) -> None:
    """Each is left somewhere between its first request and its last answer."""
    for number in range(600):
        stream = 2 * number + 1
        connection.sendall(frame(HEADERS, END_HEADERS, stream, head("ModelStreamInfer")))
        for _ in range(chance.randrange(6)):
            connection.sendall(frame(DATA, 0, stream, message()))
        if chance.random() < 0.5:
            time.sleep(0.0005)
        connection.sendall(frame(RESET, 0, stream, struct.pack(">I", 8)))


def endless_headers(connection: socket.socket, chance: random.Random) -> None:
    connection.sendall(frame(HEADERS, 0, 1, head("ModelInfer")))
    for _ in range(4000):
        connection.sendall(frame(CONTINUATION, 0, 1, literal("x", "y" * 100) * 10))


def huge_metadata(connection: socket.socket, chance: random.Random) -> None:
    many = b"".join(literal(f"x{number}", "y" * 120) for number in range(100))
    for number in range(200):
        connection.sendall(
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, head("ModelInfer") + many)
        )


def floods(connection: socket.socket, chance: random.Random) -> None:
    """Frames that each want an answer, from somebody who reads none."""
    one = frame(PING, 0, 0, bytes(8)) + frame(
        SETTINGS, 0, 0, struct.pack(">HI", 4, chance.randrange(1 << 16))
    )
    for _ in range(400):
        connection.sendall(one * 50)


def asks_and_never_reads(connection: socket.socket, chance: random.Random) -> None:
    """Its own window is closed, so that no answer can be sent, and it asks on."""
    connection.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    connection.sendall(frame(HEADERS, END_HEADERS, 1, head("ModelStreamInfer")))
    for _ in range(200):
        connection.sendall(frame(DATA, 0, 1, message() * 100))


ATTACKS: tuple[Callable[[socket.socket, random.Random], None], ...] = (
    half_open,
    rapid_reset,
    cancelled_streams,
    endless_headers,
    huge_metadata,
    floods,
    asks_and_never_reads,
)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_others_are_answered(
    served: tuple[str, int], attack: Callable[[socket.socket, random.Random], None]
) -> None:
    address, pid = served
    before, chance, held = resident_mb(pid), random.Random(1), []
    for _ in range(9):
        connection = connected(address)
        connection.settimeout(1.0)
        held.append(connection)
        with suppress(OSError):  # it was cut off
            attack(connection, chance)
    answered(address)
    assert resident_mb(pid) < before + MORE_MB
    for connection in held:
        connection.close()
    answered(address)


def answered(address: str) -> None:
    """Somebody else is, at the latest when the calls are over that ask nothing."""
    end = time.monotonic() + 3 * REQUEST_S
    while True:
        with grpc.insecure_channel(address) as channel:
            try:
                return answers_right(channel)
            except grpc.RpcError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def test_a_request_that_does_not_come_ends_its_call(served: tuple[str, int]) -> None:
    def nothing() -> Iterator[bytes]:
        time.sleep(3 * REQUEST_S)
        yield from ()

    with grpc.insecure_channel(served[0]) as channel:
        for request, code in (
            (nothing(), grpc.StatusCode.DEADLINE_EXCEEDED),
            (iter(()), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as error:
                channel.stream_unary(f"{SERVICE}/ModelInfer")(request, timeout=20)
            assert error.value.code() is code


def test_streams_are_bounded() -> None:
    waits = threading.Event()

    def waiting() -> Iterator[bytes]:
        waits.wait(30)
        yield from ()

    with serving(max_streams=3) as (addresses, _), grpc.insecure_channel(addresses["grpc"]) as channel:
        call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        held = [call(waiting()) for _ in range(3)]
        time.sleep(0.3)
        with pytest.raises(grpc.RpcError, match="3 streams are open, as many as there may be"):
            next(iter(call(iter([b""]), timeout=20)))
        answers_right(channel)
        waits.set()
        assert [list(one) for one in held] == [[], [], []]
        assert len(list(call(iter([b""]), timeout=20))) == 1
