"""Clients of gRPC in bad weather, who speak HTTP/2 by hand: what a library would never send is sent, too."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterator

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.http2.hpack import Decoder
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.signature import Array
from tests.serving.grpc.asking import SERVICE, infer_request
from tests.serving.grpc.test_fuzz import PREFACE, frame, literal
from tests.serving.server.storms import ROWS, Storm

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_OK, _DEADLINE, _EXHAUSTED, _UNAVAILABLE = 0, 4, 8, 14
_GREETING = (
    PREFACE
    + frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 30))
    + frame(_WINDOW, 0, 0, struct.pack(">I", 1 << 30))
)


class GrpcStorm(Storm):
    """Unary calls and streams, several at once on a connection; each answer must name its own request."""

    protocol = "grpc"

    def __init__(self, port: int, name: str, rows: Array, answers: list[bytes], count: int) -> None:
        super().__init__(port, name, rows, answers, count)
        self.messages: list[bytes] = []
        for number, row in enumerate(rows):
            request = {**infer_request("policy", **{name: row[None]}), "id": str(number)}
            content = encode(INFERENCE, "ModelInferRequest", request)
            self.messages.append(struct.pack(">BI", 0, len(content)) + content)
        self._known: dict[tuple[bool, bytes], tuple[int, str]] = {}

    async def talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draw: random.Random
    ) -> None:
        writer.write(_GREETING)
        connection = _Connection(self, reader, writer)
        for _ in range(draw.randint(1, 100)):
            if self.ended:
                return
            await connection.turn(draw)
            if draw.random() < 0.002:  # no frame at all; the server says goodbye
                writer.write(draw.randbytes(40))
                await reader.read()
                return

    def said(self, message: bytes, *, streamed: bool) -> tuple[int, str]:
        """Of which request this is the answer, and why there is none; one that is no refusal is right."""
        key = streamed, message
        if key not in self._known:
            self._known[key] = self._read(message, streamed)
        return self._known[key]

    def _read(self, message: bytes, streamed: bool) -> tuple[int, str]:
        flag, size = struct.unpack_from(">BI", message)
        assert (flag, size) == (0, len(message) - 5)
        response = decode(INFERENCE, f"Model{'Stream' * streamed}InferResponse", message[5:])
        error = response.get("error_message", "")
        response = response["infer_response"] if streamed else response
        number = int(response["id"])
        assert error or response["raw_output_contents"] == [self.answers[number]], response
        return number, error


class _Connection:
    """The calls of one connection."""

    def __init__(self, storm: GrpcStorm, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.storm, self.reader, self.writer = storm, reader, writer
        self.decoder, self.stream = Decoder(), 1
        self.path = {
            streamed: b"\x83\x86"
            + b"".join(
                literal(*one)
                for one in (
                    (":path", f"{SERVICE}/Model{'Stream' * streamed}Infer"),
                    (":authority", "x"),
                    ("te", "trailers"),
                    ("content-type", "application/grpc"),
                )
            )
            for streamed in (False, True)
        }
        self.waiting: dict[int, list[int]] = {}
        """The requests of each open call that have no answer yet."""
        self.streams: set[int] = set()
        self.hurried: set[int] = set()
        self.got: dict[int, bytes] = {}

    async def turn(self, draw: random.Random) -> None:
        """Some calls at once, until all of them have ended."""
        out: list[bytes] = []
        for _ in range(draw.choice((1, 1, 4, 8))):
            out += self._call(draw)
        data = b"".join(out)
        if draw.random() < 0.003:
            self.writer.write(data[: draw.randrange(len(data))])
            raise ConnectionError("gone")
        if draw.random() < 0.01:  # a slow one
            cut = draw.randrange(len(data))
            self.writer.write(data[:cut])
            await asyncio.sleep(0.02)
            data = data[cut:]
        self.writer.write(data)
        while self.waiting:
            await self._frame()

    def _call(self, draw: random.Random) -> Iterator[bytes]:
        stream, streamed = self.stream, draw.random() < 0.5
        self.stream += 2
        head, numbers = self.path[streamed], [draw.randrange(ROWS)]
        if streamed:
            numbers += [draw.randrange(ROWS) for _ in range(draw.choice((0, 3, 30)))]
            self.streams.add(stream)
        if draw.random() < 0.01:
            head += literal("grpc-timeout", draw.choice(("1n", "50u", "1m")))
            self.hurried.add(stream)
        self.storm.left -= len(numbers)
        self.waiting[stream] = list(numbers)
        yield frame(_HEADERS, _END_HEADERS, stream, head)
        content = b"".join(self.storm.messages[number] for number in numbers)
        while draw.random() < 0.2 and len(content) > 1:  # messages begin and end where they want
            cut = draw.randrange(1, len(content))
            yield frame(_DATA, 0, stream, content[:cut])
            content = content[cut:]
        if draw.random() < 0.01:
            yield frame(_DATA, 0, stream, content[: draw.randrange(len(content))])
            yield frame(_RESET, 0, stream, struct.pack(">I", 8))
            self._forget(stream)
            return
        yield frame(_DATA, _END_STREAM, stream, content)

    def _forget(self, stream: int) -> None:
        del self.waiting[stream]
        self.hurried.discard(stream)
        self.got.pop(stream, None)

    async def _frame(self) -> None:
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = struct.unpack_from(">BBI", head, 3)
        to_answer = not flags & _ACK
        if kind == _DATA:
            self._data(stream, payload)
        elif kind == _HEADERS:
            said = dict(self.decoder.decode(payload, 1 << 20) or ())
            if flags & _END_STREAM and stream in self.waiting:
                self._ended(stream, int(said[b"grpc-status"]), said)
        elif kind == _RESET:
            assert stream not in self.waiting, f"call {stream} was reset: {payload.hex()}"
        elif kind == _SETTINGS and to_answer:
            self.writer.write(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and to_answer:
            self.writer.write(frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            raise ConnectionError("the server says goodbye")

    def _data(self, stream: int, payload: bytes) -> None:
        if stream not in self.waiting:
            return  # it was reset
        content = self.got.get(stream, b"") + payload
        while len(content) >= 5 and len(content) >= (end := 5 + int.from_bytes(content[1:5], "big")):
            number, error = self.storm.said(content[:end], streamed=stream in self.streams)
            content = content[end:]
            self.waiting[stream].remove(number)  # a ValueError: an answer to another request, or a second one
            if error:
                late = "deadline" in error and stream in self.hurried
                assert late or "try again" in error, error
                self.storm.refused += 1
            else:
                self.storm.right += 1
        self.got[stream] = content

    def _ended(self, stream: int, status: int, said: dict[bytes, bytes]) -> None:
        left = len(self.waiting[stream])
        if status == _OK:
            assert not left, f"call {stream} has ended without {left} of its answers"
        else:
            late = status == _DEADLINE and stream in self.hurried
            assert late or status in (_EXHAUSTED, _UNAVAILABLE), said
            self.storm.refused += left
        assert not self.got.get(stream), "half a message"
        self._forget(stream)
