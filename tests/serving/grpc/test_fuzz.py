"""Requests and frames that were changed at random: each is answered or its connection closed, and the process
lives and answers right."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.clients.process import serving
from tests.serving.grpc.asking import SERVICE, TIME_S, array, call, infer_request
from tests.serving.grpc.test_schema import drawn

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KNOWN = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}


@pytest.fixture
def address() -> Iterator[str]:
    """A process of its own, which has to be alive at the end."""
    with serving(shared_memory=True) as (addresses, _):
        yield addresses["grpc"]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or repeated; or the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(changed))
        match chance.randrange(5):
            case 0:
                del changed[at : at + chance.randint(1, 8)]
            case 1:
                changed[at:at] = chance.randbytes(chance.randint(1, 8))
            case 2 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 3:
                changed[at:at] = bytes(changed[at : at + chance.randint(1, 40)])
            case 4:
                changed[at : at + 1] = chance.choice([b"\xff" * 9, b"\x80" * 11, b"\x7f", b"\x00"])
    return bytes(changed[: chance.randint(0, len(changed))] if chance.random() < 0.1 else changed)


def seeds(chance: random.Random) -> list[tuple[str, bytes]]:
    """Calls with what they are asked, right ones and such as the schema allows."""
    asked = [
        ("ModelInfer", infer_request("line", x=np.ones((1, 4), "f"), id="7")),
        ("ModelInfer", infer_request("pair", x=np.ones((2, 2), "f"), n=np.array([1, 2]), id="8")),
    ]
    asked += [
        (one.name, drawn(INFERENCE, one.request, chance))
        for one in INFERENCE.calls
        # What is unloaded would be missed afterwards.
        if not one.streams_in and one.name != "RepositoryModelUnload"
    ]
    return [(name, encode(INFERENCE, f"{name}Request", request)) for name, request in asked]


def fuzz_messages(address: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    all_seeds = seeds(chance)
    with grpc.insecure_channel(address) as channel:
        asked = []
        for _ in range(count):
            name, data = chance.choice(all_seeds[:2] if chance.random() < 0.6 else all_seeds)
            asked.append(
                channel.unary_unary(f"{SERVICE}/{name}").future(mutated(data, chance), timeout=TIME_S)
            )
            if len(asked) >= 64:
                assert {one.code().name for one in asked} <= KNOWN
                asked.clear()
        assert {one.code().name for one in asked} <= KNOWN
        answers_right(channel)


def fuzz_stream(address: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    good = encode(INFERENCE, "ModelInferRequest", infer_request("line", x=np.ones((1, 4), "f")))
    with grpc.insecure_channel(address) as channel:
        requests = [mutated(good, chance) for _ in range(count)]
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter(requests), timeout=60)
        answers = [decode(INFERENCE, "ModelStreamInferResponse", one) for one in stream]
        assert len(answers) == count
        assert any("error_message" in one for one in answers)
        answers_right(channel)


def fuzz_frames(address: str, count: int, seed: int) -> None:
    """Frames of HTTP/2 as nobody should send them."""
    chance = random.Random(seed)
    host, port = address.split(":")
    settings, ping = frame(4, 0, 0, b""), frame(6, 0, 0, bytes(8))
    headers = frame(
        1, 4, 1, b"\x83\x86" + literal(":path", f"{SERVICE}/ModelInfer") + literal("te", "trailers")
    )
    body = infer_request("line", x=np.ones((1, 4), "f"))
    message = encode(INFERENCE, "ModelInferRequest", body)
    data = frame(0, 1, 1, struct.pack(">BI", 0, len(message)) + message)
    for _ in range(count):
        with socket.create_connection((host, int(port)), TIME_S) as connection:
            connection.settimeout(0.02)
            parts = [settings, headers, data, ping]
            place = chance.randrange(len(parts))
            parts[place] = mutated(parts[place], chance)
            try:
                connection.sendall(PREFACE + b"".join(parts))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except (TimeoutError, ConnectionError):
                pass
    with grpc.insecure_channel(address) as channel:
        answers_right(channel)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header that is not indexed."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def answers_right(channel: grpc.Channel) -> None:
    x = np.array([[1, 2, 3, 4]], "f")
    response = call(channel, "ModelInfer", **infer_request("line", x=x, id="last"))
    assert response["id"] == "last"
    np.testing.assert_array_equal(array(response, 0), 2 * x)


def test_changed_requests_are_answered(address: str) -> None:
    fuzz_messages(address, 200, 1)
    fuzz_stream(address, 80, 2)
    fuzz_frames(address, 20, 3)


@pytest.mark.slow
def test_ten_thousand_changed_requests_are_answered(address: str) -> None:
    fuzz_messages(address, 6000, 11)
    fuzz_stream(address, 3500, 12)
    fuzz_frames(address, 500, 13)
