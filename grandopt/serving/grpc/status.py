"""How a call ends, as the headers that say it."""

from __future__ import annotations

from enum import IntEnum

from grandopt.serving.grpc.http2.hpack import literal
from grandopt.serving.protocol.errors import ProtocolError


class Status(IntEnum):
    """The statuses of gRPC that are sent here."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


LONGEST_MESSAGE = 4096
"""Bytes of a status, which travels in the headers: they are three times as many there, at most."""

PUSHBACK = "grpc-retry-pushback-ms"
"""The trailer by which a server tells a client's retry policy how long to wait."""

RESPONSE = b"\x88" + literal("content-type", "application/grpc")
"""The headers with which each answer begins; of the first of them HTTP's table has the whole."""
OK = literal("grpc-status", "0")
"""The trailers after an answer."""


def trailers(error: ProtocolError) -> bytes:
    """The headers that end a call with the error's status, and say when to try again."""
    block = literal("grpc-status", str(int(Status[error.code.grpc])))
    block += literal("grpc-message", _percent_encoded(str(error)))
    if error.retry_after_s is not None:
        block += literal(PUSHBACK, str(max(1, round(error.retry_after_s * 1e3))))
    return block


def _percent_encoded(text: str) -> str:
    whole = text.encode(errors="replace")[:LONGEST_MESSAGE].decode(errors="ignore")
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != 37 else f"%{byte:02X}" for byte in whole.encode()
    )
