"""Refusals as gRPC says them."""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

import grpc

from grandopt.serving.protocol.errors import ProtocolError

Context: TypeAlias = Any
"""`grpc.aio.ServicerContext`, which has no types."""

LONGEST_MESSAGE = 4096
"""Characters of a status, which travels in the headers."""

PUSHBACK = "grpc-retry-pushback-ms"
"""The trailer by which a server tells a client's retry policy how long to wait."""


def status_code(error: ProtocolError) -> grpc.StatusCode:
    """The status of the table."""
    return grpc.StatusCode[error.code.grpc]


async def abort(context: Context, error: ProtocolError) -> NoReturn:
    """End the call with the error's status, and when to try again."""
    trailers = (
        () if error.retry_after_s is None else ((PUSHBACK, str(max(1, round(error.retry_after_s * 1e3)))),)
    )
    await context.abort(status_code(error), str(error)[:LONGEST_MESSAGE], trailers)
    raise AssertionError("abort returned")
