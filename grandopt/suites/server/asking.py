"""A program that asks a server over many connections as fast as it answers; its input and output are JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Asking:
    """`request` (the file of its bytes) is asked over `connections` for `seconds`, each asking anew when
    answered; `uds` is the path of a Unix socket, else it is `port` of this machine."""

    request: Path
    connections: int
    seconds: float
    port: int = 0
    uds: Path | None = None


@dataclass(frozen=True)
class Answers:
    """How many came in the time, how many were no 200, the median seconds of one, and the
    body of the last one in hexadecimal digits."""

    count: int
    wrong: int
    seconds: float
    p50_s: float
    p99_s: float
    body: str

    @property
    def rate(self) -> float:
        return self.count / self.seconds


class _Caller(asyncio.Protocol):
    """One connection. Answers of one request are equally long, so that only the first is read closely."""

    def __init__(self, request: bytes, times: list[int], seen: dict[str, Any]) -> None:
        self._request, self._times, self._seen = request, times, seen
        self._rest = b""
        self._size = 0
        self._asked = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._size:
            head, found, _ = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return
            length = b"0"
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length: "):
                    length = line[16:]
            self._size = len(head) + 4 + int(length)
        if len(data) < self._size:
            self._rest = data
            return
        self._times.append(time.perf_counter_ns() - self._asked)
        if not data.startswith(b"HTTP/1.1 200"):
            self._seen["wrong"] += 1
        self._seen["last"] = data
        self._ask()


async def ask(given: Asking) -> Answers:
    """Raises OSError where nobody listens."""
    loop, request = asyncio.get_running_loop(), given.request.read_bytes()
    times: list[int] = []
    seen: dict[str, Any] = {"wrong": 0, "last": b""}
    callers = []
    for _ in range(given.connections):
        make = partial(_Caller, request, times, seen)
        if given.uds is None:
            callers.append(await loop.create_connection(make, "127.0.0.1", given.port))
        else:
            callers.append(await loop.create_unix_connection(make, str(given.uds)))
    await asyncio.sleep(given.seconds / 5)
    times.clear()
    began = time.perf_counter()
    await asyncio.sleep(given.seconds)
    lasted, taken = time.perf_counter() - began, np.array(times)
    for transport, _ in callers:
        transport.abort()
    body = seen["last"].partition(b"\r\n\r\n")[2].hex()
    p50, p99 = (float(np.percentile(taken, share)) / 1e9 if taken.size else 0.0 for share in (50, 99))
    return Answers(int(taken.size), seen["wrong"], lasted, p50, p99, body)


def main() -> None:
    given = json.loads(sys.stdin.readline())
    uds = given.pop("uds")
    asked = Asking(Path(given.pop("request")), uds=None if uds is None else Path(uds), **given)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(asdict(runner.run(ask(asked)))) + "\n")


if __name__ == "__main__":
    main()
