"""What became of a request of a ring, or of the ring, and how the protocol's codes are said there."""

from __future__ import annotations

from enum import IntEnum

from grandopt.serving.protocol.errors import Code, ProtocolError


class Status(IntEnum):
    """The numbers of `grandopt_ring.h`."""

    OK = 0
    INVALID = 1
    NOT_FOUND = 2
    LATE = 3
    FAILED = 4
    UNAVAILABLE = 5
    FORBIDDEN = 6
    GONE = 7
    FULL = 8


_STATUS = {
    Code.NOT_FOUND: Status.NOT_FOUND,
    Code.LATE: Status.LATE,
    Code.INTERNAL: Status.FAILED,
    Code.UNAVAILABLE: Status.UNAVAILABLE,
    Code.OVERLOADED: Status.UNAVAILABLE,
    Code.FORBIDDEN: Status.FORBIDDEN,
}
_CODES = {
    Status.NOT_FOUND: Code.NOT_FOUND,
    Status.LATE: Code.LATE,
    Status.FAILED: Code.INTERNAL,
    Status.UNAVAILABLE: Code.UNAVAILABLE,
    Status.FORBIDDEN: Code.FORBIDDEN,
    Status.GONE: Code.UNAVAILABLE,
    Status.FULL: Code.OVERLOADED,
}


def status_of(error: ProtocolError) -> Status:
    """The status that says the same."""
    return _STATUS.get(error.code, Status.INVALID)


def error_of(status: int, text: str) -> ProtocolError:
    """The error of a client whose request, or ring, has this status."""
    known = Status(status) if status in Status._value2member_map_ else Status.FAILED
    return ProtocolError(_CODES.get(known, Code.INVALID), text)
