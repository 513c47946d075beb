"""A server of two workers in bad weather, and clients that look at each answer."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.serving.http.planes import binary
from tests.serving.server.processes import address, alive, ask, children, served

ROWS = 64
HANGS_S = 60


class Storm:
    """`left` requests of `callers` at once, each checked against the agent called directly.

    `right` are answers that are the agent's, `refused` those that say that the server cannot now, `lost`
    connections that ended, whether the client did it or a worker that was killed.
    """

    protocol: ClassVar[str]

    def __init__(self, port: int, name: str, rows: Array, answers: list[bytes], count: int) -> None:
        self.port, self.answers, self.left = port, answers, count
        self.ended = False
        self.right = self.refused = self.lost = 0
        self.resident: list[tuple[float, float]] = []
        """When how many MB of all processes were in memory."""

    async def caller(self, draw: random.Random) -> None:
        while not self.ended:
            try:
                async with asyncio.timeout(HANGS_S):
                    await self.connection(draw)
            except TimeoutError as error:  # an OSError, too
                raise AssertionError(f"a connection was not done within {HANGS_S} s") from error
            except (OSError, asyncio.IncompleteReadError):
                self.lost += 1
                await asyncio.sleep(0.01)

    async def connection(self, draw: random.Random) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await self.talk(reader, writer, draw)
        finally:
            writer.transport.abort()

    async def talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random
    ) -> None:
        """All requests of one connection."""
        raise NotImplementedError


class HttpStorm(Storm):
    """Requests with bytes, some of them pipelined."""

    protocol = "http"

    def __init__(self, port: int, name: str, rows: Array, answers: list[bytes], count: int) -> None:
        super().__init__(port, name, rows, answers, count)
        self.requests = [binary(row[None], "FP32", "policy", name) for row in rows]

    async def talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random
    ) -> None:
        for _ in range(draw.randint(1, 400)):
            if self.ended:
                return
            self.left -= 1
            await self.one(reader, writer, draw)
            if draw.random() < 0.002:
                writer.write(draw.randbytes(40) + b"\r\n\r\n")
                await reader.read()
                return

    async def one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random
    ) -> None:
        numbers = [draw.randrange(ROWS) for _ in range(draw.choice((1, 1, 1, 5)))]
        data = b"".join(self.requests[number] for number in numbers)
        if draw.random() < 0.005:  # a slow body
            writer.write(data[:-20])
            await asyncio.sleep(0.02)
            data = data[-20:]
        if draw.random() < 0.003:
            writer.write(data[: draw.randrange(len(data))])
            raise ConnectionError("gone")
        writer.write(data)
        for number in numbers:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
            if head.startswith(b"HTTP/1.1 200"):
                assert body[int(fields[b"inference-header-content-length"]) :] == self.answers[number]
                self.right += 1
            else:
                assert head[9:12] == b"503", head + body
                self.refused += 1


async def weather(pid: int, place: tuple[str, int], storm: Storm, draw: random.Random, calm_s: float) -> None:
    """Load the agent again, and kill a worker now and then, less often than the supervisor would give up;
    after the last request of the count `calm_s` seconds more, in which nobody is killed and the memory of all
    processes is looked at."""
    while storm.left > 0:
        assert alive(pid)
        await asyncio.sleep(draw.uniform(2.5, 4.0))
        try:
            await asyncio.to_thread(ask, place, "POST", "/v2/repository/models/policy/load")
        except OSError:
            continue  # the worker that was asked is the one that was killed
        workers = children(pid)
        if len(workers) > 1:
            os.kill(draw.choice(workers), signal.SIGKILL)
    end = time.monotonic() + calm_s
    while time.monotonic() < end:
        await asyncio.sleep(2.0)
        await asyncio.to_thread(ask, place, "POST", "/v2/repository/models/policy/load")
        storm.resident.append((time.monotonic(), sum(map(resident_mb, (pid, *children(pid))))))
    storm.ended = True


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


def a_minute(resident: list[tuple[float, float]]) -> float:
    """By how many MB it grows in a minute, as a straight line through all."""
    times, sizes = np.array(resident).T
    return float(np.polyfit((times - times[0]) / 60, sizes, 1)[0])


def weathered(kind: type[Storm], artifacts: Path, count: int, calm_s: float = 0.0) -> Storm:
    """What became of `count` requests of 16 callers, after which the server has to be alive."""
    policy = load(artifacts / "policy")
    rows = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    answers = [policy.run([row[None]])[0].tobytes() for row in rows]
    name = policy.signature.inputs[0].name
    words = ("--workers", "2", "--model-control", "explicit", "--load", "policy")
    with served(artifacts, *words, light=kind.protocol != "grpc") as (told, process):
        port = address(told, kind.protocol)[1]
        storm = kind(port, name, rows, answers, count)

        async def main() -> None:
            callers = [storm.caller(random.Random(number)) for number in range(16)]
            rains = weather(process.pid, address(told), storm, random.Random(99), calm_s)
            await asyncio.gather(rains, *callers)

        asyncio.run(main())
        assert process.poll() is None
    policy.close()
    return storm
