"""`python -m tests.serving.grpc.rate [SECONDS [ROUNDS [PROFILE [ARTIFACT]]]]`: how many requests a second.

A plain echo of the same sizes on `grpc.aio` stands beside the server, unary calls beside a stream, in rounds
that take turns. All are asked by one client that speaks HTTP/2 itself and sends prepared frames, because a
client made of grpcio needs more of a processor than the server. How much of the time it computed itself is
told, too (with a share near 1 it is the client that is measured), and what a request cost the server of a
processor, which a machine that is busy with something else changes less than the rates.

The engine's profile is what `serve` takes unless it is told; `basic` computes each observation alone. Without
an artifact the agent has the decision gate's sizes, and computes nothing.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from grandopt.config.names import DEFAULT_PROFILE
from grandopt.runtime.executors.base import Executor
from grandopt.serving.grpc.coding import encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.grpc.asking import SERVICE, infer_request
from tests.serving.grpc.test_fuzz import PREFACE, frame, literal

OPEN = 64
"""Requests under way."""
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LARGEST = 0x7FFF_FFFF


def gate() -> Executor:
    """An agent as small as an agent is: x [152] → its first two."""
    from grandopt.signature import Signature, TensorSpec
    from tests.fakes import FakeExecutor

    signature = Signature((TensorSpec("x", (152,)),), (TensorSpec("y", (2,)),))
    return FakeExecutor(signature, lambda inputs: (inputs[0][:, :2].copy(),))


def agent(artifact: str | None) -> Executor:
    from grandopt.runtime.loader import load

    return gate() if artifact is None else load(artifact)


async def serve(told: Connection, echo: bool, profile: str, artifact: str | None) -> None:
    import grpc

    from grandopt.serving.grpc.options import GrpcOptions
    from grandopt.serving.grpc.server import GrpcServer
    from tests.serving.agents import plane_of

    with tempfile.TemporaryDirectory() as folder:
        async with plane_of(Path(folder), profile, gate=agent(artifact)) as plane:
            if not echo:
                server: Any = GrpcServer(plane, GrpcOptions(port=0))
                await server.start()
                told.send(server.addresses[0])
            else:
                response = bytes(60)

                async def answer(data: bytes, context: object) -> bytes:
                    return response

                async def answers(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
                    async for _ in requests:
                        await context.write(response)

                server = grpc.aio.server()
                handlers = {
                    "ModelInfer": grpc.unary_unary_rpc_method_handler(answer),
                    "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(answers),
                }
                server.add_generic_rpc_handlers(
                    (grpc.method_handlers_generic_handler(SERVICE[1:], handlers),)
                )
                port = server.add_insecure_port("127.0.0.1:0")
                await server.start()
                told.send(f"127.0.0.1:{port}")
            await asyncio.to_thread(told.recv)
            await server.stop(0)


def run(told: Connection, *asked: Any) -> None:
    import uvloop

    uvloop.run(serve(told, *asked))


@contextmanager
def process(*asked: Any) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address, and its process."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=run, args=(theirs, *asked))
    child.start()
    yield ours.recv(), psutil.Process(child.pid)
    ours.send(None)
    child.join()


class Client:
    """One connection, on which `ask` sends what was prepared and counts what comes."""

    def __init__(self, address: str, call: str, message: bytes) -> None:
        host, port = address.split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _LARGEST))
        self._socket.sendall(PREFACE + window + frame(_WINDOW, 0, 0, struct.pack(">I", _LARGEST - 65_535)))
        self._headers = b"\x83\x86" + b"".join(
            literal(*one)
            for one in (
                (":path", f"{SERVICE}/{call}"),
                (":authority", address),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            )
        )
        self._data = struct.pack(">BI", 0, len(message)) + message
        self._rest = b""
        self._stream = 1

    def unary(self, seconds: float) -> float:
        """Unary calls a second; each answer is followed by the next call."""
        self._socket.sendall(b"".join(self._call() for _ in range(OPEN)))
        return self._counted(seconds, _HEADERS, self._call)

    def streamed(self, seconds: float) -> float:
        """Messages a second of one stream."""
        stream = self._stream
        self._stream += 2
        one = frame(_DATA, 0, stream, self._data)
        self._socket.sendall(frame(_HEADERS, _END_HEADERS, stream, self._headers) + one * OPEN)
        rate = self._counted(seconds, _DATA, lambda: one)
        self._socket.sendall(frame(_DATA, _END_STREAM, stream, b""))
        return rate

    def _call(self) -> bytes:
        stream = self._stream
        self._stream += 2
        return frame(_HEADERS, _END_HEADERS, stream, self._headers) + frame(
            _DATA, _END_STREAM, stream, self._data
        )

    def _counted(self, seconds: float, kind: int, following) -> float:  # type: ignore[no-untyped-def]
        count, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            out = []
            for found, flags, payload in self._frames():
                # A unary answer ends with its trailers, one of a stream is a frame of data.
                if found == kind and (kind == _DATA or flags & _END_STREAM):
                    count += 1
                    out.append(following())
                elif found == _PING and not flags & _ACK:
                    out.append(frame(_PING, _ACK, 0, payload))
                elif found == _SETTINGS and not flags & _ACK:
                    out.append(frame(_SETTINGS, _ACK, 0, b""))
                elif found == _GOAWAY:
                    raise SystemExit(f"the server closes the connection: {payload!r}")
            if out:
                self._socket.sendall(b"".join(out))
        return count / taken

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._rest + self._socket.recv(1 << 18)
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            yield data[at + 3], data[at + 4], data[at + 9 : end]
            at = end
        self._rest = data[at:]

    def close(self) -> None:
        self._socket.close()


def main(
    seconds: float = 2.0, rounds: int = 5, profile: str = DEFAULT_PROFILE, artifact: str | None = None
) -> None:
    row = {one.name: np.zeros((1, *one.shape), one.dtype) for one in agent(artifact).signature.inputs}
    body = infer_request("gate", **row)
    message = encode(INFERENCE, "ModelInferRequest", body)
    rates: dict[str, list[float]] = {"unary": [], "echo": [], "stream": [], "echo stream": []}
    shares: dict[str, list[float]] = {name: [] for name in rates}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    with process(False, profile, artifact) as ours, process(True, profile, artifact) as echo:
        for _ in range(rounds):
            for name, (address, server), call in (
                ("unary", ours, "ModelInfer"),
                ("echo", echo, "ModelInfer"),
                ("stream", ours, "ModelStreamInfer"),
                ("echo stream", echo, "ModelStreamInfer"),
            ):
                client = Client(address, call, message)
                computed, served = time.process_time(), _computed(server)
                rate = (client.streamed if call == "ModelStreamInfer" else client.unary)(seconds)
                rates[name].append(rate)
                shares[name].append((time.process_time() - computed) / seconds)
                costs[name].append((_computed(server) - served) / (seconds * rate) * 1e6)
                client.close()
    print(
        json.dumps(
            {
                "a second": {name: round(statistics.median(found)) for name, found in rates.items()},
                "the client's share": _medians(shares),
                "the server's microseconds": _medians(costs),
                "unary / echo": round(_ratio(rates["unary"], rates["echo"]), 3),
                "stream / unary": round(_ratio(rates["stream"], rates["unary"]), 2),
                "stream / echo": round(_ratio(rates["stream"], rates["echo"]), 2),
                "stream / echo stream": round(_ratio(rates["stream"], rates["echo stream"]), 3),
                "echo stream / echo": round(_ratio(rates["echo stream"], rates["echo"]), 2),
                "unary / stream, of a processor": round(_ratio(costs["unary"], costs["stream"]), 2),
            },
            indent=2,
        )
    )


def _computed(server: psutil.Process) -> float:
    """The seconds that a process has computed until now."""
    times = server.cpu_times()
    return float(times.user + times.system)


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(of_one), 2) for name, of_one in found.items()}


def _ratio(these: list[float], those: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(these, those, strict=True))


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((float, int, str, str), sys.argv[1:], strict=False)))
