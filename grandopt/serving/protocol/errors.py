"""What a request is refused with, and how each transport says it: the one table."""

from __future__ import annotations

from enum import Enum

from grandopt.errors import (
    ArtifactError,
    ConfigError,
    DeadlineExceeded,
    EngineClosed,
    EngineError,
    GrandoptError,
    Overloaded,
    SessionClosed,
    SignatureError,
    UnknownAgentError,
    UnsupportedError,
    named_line,
)


class Code(Enum):
    """Why there is no answer: the HTTP status, and the name of the gRPC status."""

    INVALID = 400, "INVALID_ARGUMENT"
    UNAUTHENTICATED = 401, "UNAUTHENTICATED"
    FORBIDDEN = 403, "PERMISSION_DENIED"
    NOT_FOUND = 404, "NOT_FOUND"
    METHOD = 405, "UNIMPLEMENTED"
    SLOW = 408, "DEADLINE_EXCEEDED"
    """The client took too long to send its request."""
    TOO_LARGE = 413, "RESOURCE_EXHAUSTED"
    HEADERS = 431, "RESOURCE_EXHAUSTED"
    INTERNAL = 500, "INTERNAL"
    UNSUPPORTED = 501, "UNIMPLEMENTED"
    UNAVAILABLE = 503, "UNAVAILABLE"
    OVERLOADED = 503, "RESOURCE_EXHAUSTED"
    LATE = 503, "DEADLINE_EXCEEDED"
    """The request's own time is over, or would be before the answer."""

    def __init__(self, status: int, grpc: str) -> None:
        self.status = status
        self.grpc = grpc

    def __new__(cls, status: int, grpc: str) -> Code:
        """Several have one status, and stay members of their own."""
        made = object.__new__(cls)
        made._value_ = (len(cls.__members__), status, grpc)
        return made


class ProtocolError(GrandoptError):
    """A request that is refused: `code`, one line of text, and when to try again, if that is known."""

    def __init__(self, code: Code, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[ProtocolError], tuple[Code, str, float | None]]:
        return type(self), (self.code, str(self), self.retry_after_s)


CODES: tuple[tuple[type[GrandoptError], Code], ...] = (
    (UnknownAgentError, Code.NOT_FOUND),
    (SignatureError, Code.INVALID),
    (ConfigError, Code.INVALID),
    (SessionClosed, Code.INVALID),
    (ArtifactError, Code.INVALID),
    (UnsupportedError, Code.UNSUPPORTED),
    (EngineError, Code.INVALID),
    (Overloaded, Code.OVERLOADED),
    (DeadlineExceeded, Code.LATE),
    (EngineClosed, Code.UNAVAILABLE),
)
"""The first that an error is an instance of counts; every other is INTERNAL."""


def refused(error: BaseException) -> ProtocolError:
    """`error` as what a client is told: its own text, if it was raised on purpose, else that it is a bug."""
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, GrandoptError):
        code = next((code for kind, code in CODES if isinstance(error, kind)), Code.INTERNAL)
        return ProtocolError(code, str(error), getattr(error, "retry_after_s", None))
    return ProtocolError(Code.INTERNAL, f"the server failed: {named_line(error)}")
