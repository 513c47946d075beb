"""Clients that write and say what they like: the server lives, and the others are answered."""

from __future__ import annotations

import mmap
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from grandopt.runtime.loader import load
from grandopt.serving.ring.asking import connected
from grandopt.serving.ring.client import RingClient
from grandopt.serving.ring.layout import (
    ANSWERS,
    CLIENT_ASLEEP,
    CLOSED,
    HELLO,
    MAGIC,
    REPLY,
    REQUESTS,
    SERVER_ASLEEP,
)
from grandopt.serving.ring.status import Status
from tests.serving.ring.serving import Serving
from tests.serving.ring.test_server import ONES, plus


def hostile(own: Serving) -> tuple[socket.socket, mmap.mmap]:
    return connected(str(own.path), "policy", 4)


def closed(memory: mmap.mmap) -> int:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if status := struct.unpack_from("I", memory, CLOSED)[0]:
            return int(status)
        time.sleep(0.002)
    raise TimeoutError("the ring stays open")


@pytest.mark.parametrize("requests", [5, 2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("agent", ["policy", "number"])
def test_more_requests_than_slots(own: Serving, requests: int, agent: str) -> None:
    if agent == "number":
        own.load("number", plus(0))
    link, memory = connected(str(own.path), agent, 4)
    with link, memory:
        struct.pack_into("Q", memory, REQUESTS, requests)
        assert closed(memory) == Status.INVALID


def test_garbage_everywhere(own: Serving, artifacts: dict[str, Path]) -> None:
    random = np.random.default_rng(0)
    executor = load(artifacts["policy"])
    for _ in range(30):
        own.wait_for_rings(0)
        link, memory = hostile(own)
        with link, memory:
            begin = int(random.integers(0, len(memory) - 1))
            end = int(random.integers(begin, len(memory)))
            memory[begin:end] = random.bytes(end - begin)
            struct.pack_into("II", memory, CLIENT_ASLEEP, 1, 1)
            struct.pack_into("I", memory, SERVER_ASLEEP, 1)
    own.wait_for_rings(0)
    with RingClient(own.path, "policy") as client:
        np.testing.assert_array_equal(client(ONES), executor(ONES))


def test_the_file_can_neither_shrink_nor_grow(own: Serving) -> None:
    link, memory = hostile(own)
    with link, memory:
        for size in (4096, 2 * len(memory)):
            with pytest.raises(PermissionError):
                memory.resize(size)


def test_answers_that_the_client_overwrites_are_its_own(own: Serving) -> None:
    link, memory = hostile(own)
    with link, memory:
        struct.pack_into("Q", memory, ANSWERS, 77)
        struct.pack_into("Q", memory, REQUESTS, 1)
        with RingClient(own.path, "policy") as other:
            other(ONES)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "rings are handed out here"),
        (HELLO.pack(MAGIC, 2, 0, b"policy"), "the client speaks version 2 of the ring, this server 1"),
        (HELLO.pack(MAGIC, 1, 1 << 20, b"policy"), "4096 slots at most, 1048576 were asked for"),
        (HELLO.pack(MAGIC, 1, 0, b"\xff" * 128), "no agent"),
    ],
)
def test_another_greeting(own: Serving, sent: bytes, said: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(10)
        made.connect(str(own.path))
        made.sendall(sent)
        _, version, status, text = REPLY.unpack(made.recv(REPLY.size))
        assert (version, status != 0) == (1, True)
        assert said in text.decode()
        assert made.recv(1) == b""


def test_who_says_nothing_holds_nobody_up(own: Serving) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(own.path))
        with RingClient(own.path, "policy") as client:
            client(ONES)
        assert len(own.server.rings) <= 1


SCRIBBLES = """
import random, sys, time
from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.ring.asking import connected
link, memory = connected(sys.argv[1], "policy", 4)
print(flush=True)
while True:  # until it is killed
    for _ in range(2000):
        memory[random.randrange(len(memory))] = random.randrange(256)
    link.close()
    while True:
        try:
            link, memory = connected(sys.argv[1], "policy", 4)
            break
        except ProtocolError:  # its own ring from before is not given back yet
            time.sleep(0.001)
"""
ASKS = """
import sys, numpy
from grandopt.serving.ring.client import RingClient
client = RingClient(sys.argv[1], "policy")
print(flush=True)
while True:
    client(numpy.ones(8, "f"))
"""


@pytest.mark.slow
def test_clients_that_are_killed_while_they_ask_or_scribble(own: Serving, artifacts: dict[str, Path]) -> None:
    expected = load(artifacts["policy"])(ONES)
    with RingClient(own.path, "policy") as client:
        for number in range(8):
            own.wait_for_rings(1)
            code = SCRIBBLES if number % 2 else ASKS
            command = [sys.executable, "-c", code, str(own.path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                until = time.monotonic() + 0.2 + 0.01 * number
                while time.monotonic() < until:
                    np.testing.assert_array_equal(client(ONES), expected)
                assert process.poll() is None
                process.kill()
    own.wait_for_rings(0)
