"""A program that asks a server over many connections as fast as it answers; its input and output are JSON."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

_LENGTH = struct.Struct(">I")
_LENGTH_LINE = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Asking:
    """`requests` (a file of them, see `write`) are asked in turns over `connections` for `seconds`, each
    asking anew when answered; `uds` is the path of a Unix socket, else it is `port` of this machine."""

    requests: Path
    connections: int
    seconds: float
    port: int = 0
    uds: Path | None = None


@dataclass(frozen=True)
class Answers:
    """How many came in the time, how many were no 200, the seconds of one at the median and the 99th
    percentile, and the last body for each request in hexadecimal digits; an empty one was not asked."""

    count: int
    wrong: int
    seconds: float
    p50_s: float
    p99_s: float
    bodies: list[str]

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def write(path: Path, requests: Iterable[bytes]) -> None:
    """Requests as a file, each after its length."""
    path.write_bytes(b"".join(_LENGTH.pack(len(one)) + one for one in requests))


def read(path: Path) -> list[bytes]:
    """The requests of a file."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        found.append(data[at : at + size])
        at += size
    return found


def in_time(times: list[int], wrong: int, seconds: float, bodies: list[bytes]) -> Answers:
    """The answers that took so many nanoseconds each."""
    taken = np.array(times)
    p50, p99 = (float(np.percentile(taken, share)) / 1e9 if taken.size else 0.0 for share in (50, 99))
    return Answers(int(taken.size), wrong, seconds, p50, p99, [one.hex() for one in bodies])


class _Asked:
    """What all connections ask, and have seen."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.answers = [b""] * len(requests)
        self.times: list[int] = []
        self.wrong = 0


class _Caller(asyncio.Protocol):
    """One connection, which begins with the request of the number `first`."""

    def __init__(self, asked: _Asked, first: int) -> None:
        self._all, self._number = asked, first % len(asked.requests)
        self._rest = b""
        self._asked = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter_ns()
        self._transport.write(self._all.requests[self._number])

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        end = data.find(b"\r\n\r\n")
        length = _LENGTH_LINE.search(data, 0, max(end + 2, 0))
        if length is None or len(data) < end + 4 + int(length[1]):
            self._rest = data
            return
        seen, number = self._all, self._number
        seen.times.append(time.perf_counter_ns() - self._asked)
        if not data.startswith(b"HTTP/1.1 200"):
            seen.wrong += 1
        seen.answers[number] = data
        self._number = (number + 1) % len(seen.requests)
        self._ask()


async def ask(given: Asking) -> Answers:
    """Raises OSError where nobody listens."""
    loop, asked = asyncio.get_running_loop(), _Asked(read(given.requests))
    callers = []
    for number in range(given.connections):
        make = partial(_Caller, asked, number * len(asked.requests) // given.connections)
        if given.uds is None:
            callers.append(await loop.create_connection(make, "127.0.0.1", given.port))
        else:
            callers.append(await loop.create_unix_connection(make, str(given.uds)))
    await asyncio.sleep(given.seconds / 5)
    asked.times.clear()
    began = time.perf_counter()
    await asyncio.sleep(given.seconds)
    lasted, times = time.perf_counter() - began, asked.times
    for transport, _ in callers:
        transport.abort()
    return in_time(times, asked.wrong, lasted, [one.partition(b"\r\n\r\n")[2] for one in asked.answers])


def main() -> None:
    given = json.loads(sys.stdin.readline())
    uds = given.pop("uds")
    asked = Asking(Path(given.pop("requests")), uds=None if uds is None else Path(uds), **given)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(asdict(runner.run(ask(asked)))) + "\n")


if __name__ == "__main__":
    main()
