"""Planes that answer inference without an engine, and clients that speak bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
import orjson
import uvloop

from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.protocol.access import OPEN, Access
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import NO_PARAMETERS, InferRequest, InferResponse, OutputTensor
from grandopt.serving.routes import Route


class Doubling:
    """Answers twice its first input, as "y": at once, or after `delay_s` for the model "slow".

    The model "shape" answers its parameters' values; "missing" is not there.
    """

    def __init__(self, delay_s: float = 0.01) -> None:
        self.delay_s = delay_s
        self.requests: list[InferRequest] = []
        self.cancelled = 0

    def infer(self, request: InferRequest) -> InferResponse | Awaitable[InferResponse]:
        self.requests.append(request)
        if request.model == "missing":
            raise ProtocolError(Code.NOT_FOUND, "there is no model 'missing'")
        return self.later(request) if request.model == "slow" else self.answer(request)

    def answer(self, request: InferRequest) -> InferResponse:
        tensors = []
        for number, tensor in enumerate(request.inputs):
            data = tensor.data if tensor.data.dtype == bool else tensor.data * tensor.data.dtype.type(2)
            tensors.append(OutputTensor("y" * (number + 1), tensor.datatype, data.shape, data))
        return InferResponse(request.model, "1", request.id, NO_PARAMETERS, tuple(tensors))

    async def later(self, request: InferRequest) -> InferResponse:
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer(request)


@asynccontextmanager
async def serving(
    plane: Any = None, routes: Sequence[Route] = (), limits: HttpLimits | None = None, access: Access = OPEN
) -> AsyncIterator[tuple[HttpServer, int]]:
    """A server on a free port: (server, port)."""
    options = HttpOptions(port=0, limits=limits or HttpLimits(), access=access)
    server = HttpServer(plane or Doubling(), options, routes)
    await server.start()
    try:
        yield server, int(server.addresses[0].rpartition(":")[2])
    finally:
        await server.stop(0.5)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function in uvloop, as the server does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(closing(test))


async def closing(test: Callable[[], Awaitable[None]], within_s: float = 30.0) -> None:
    """Run a test, and let go of all its connections."""
    try:
        await asyncio.wait_for(test(), within_s)
    finally:
        while Client.all:
            Client.all.pop().writer.close()
        await asyncio.sleep(0.01)


class Client:
    """One connection; `ask` sends bytes and reads one answer."""

    all: ClassVar[list[Client]] = []
    """Those that a test has opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.all.append(self)

    @classmethod
    async def of(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, data: bytes, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.answer(body=body)

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
        length = int(headers.get("content-length", 0)) if body else 0
        return int(line.split()[1]), headers, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        """Whether the server closes the connection and sends nothing more."""
        return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.close()


def post(path: str, body: bytes = b"", **headers: object) -> bytes:
    """A request; an underscore in a header's name stands for a hyphen."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = "" if "Transfer_Encoding" in headers else f"Content-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{length}{lines}\r\n".encode() + body


def get(path: str, method: str = "GET", **headers: object) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\n{lines}\r\n".encode()


def json_body(
    values: Sequence[Any] = (1.5, -2.0), datatype: str = "FP32", shape: Any = None, **more: object
) -> bytes:
    shape = [1, len(values)] if shape is None else shape
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": list(values)}
    return orjson.dumps({"inputs": [tensor]} | more)


def infer(body: bytes, model: str = "gate", **headers: object) -> bytes:
    return post(f"/v2/models/{model}/infer", body, **headers)


def binary(
    array: np.ndarray, datatype: str, model: str = "gate", name: str = "x", **headers: object
) -> bytes:
    """A request with one binary input, for binary outputs."""
    raw = array.tobytes()
    tensor = {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": len(raw)},
    }
    text = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return infer(text + raw, model, Inference_Header_Content_Length=len(text), **headers)


def error(body: bytes) -> str:
    return orjson.loads(body)["error"]
