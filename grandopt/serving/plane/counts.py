"""What the plane counts of one agent."""

from __future__ import annotations

from typing import Literal

from grandopt.serving.protocol.errors import Code, ProtocolError

Reason = Literal["REJECTED", "CANCELED", "BACKEND", "OTHER"]
"""Why a request failed, in the words of the metrics: no room or no time, its client is gone, the agent
raised, or it could not be asked."""

REASONS: dict[Code, Reason] = {
    Code.OVERLOADED: "REJECTED",
    Code.LATE: "REJECTED",
    Code.UNAVAILABLE: "REJECTED",
    Code.INTERNAL: "BACKEND",
}
"""Every other code is OTHER."""


class Counts:
    """Counts of requests and sums of nanoseconds; the event loop's thread writes, any may read.

    `rows` are those of answered requests. `input_ns` is what checks took, `once_ns` what was computed on the
    spot, `later_ns` how long the others waited and were computed; `request_ns` is all of it, from the request
    to the response.
    """

    def __init__(self) -> None:
        self.success = self.rows = 0
        self.request_ns = self.input_ns = self.once_ns = self.later_ns = 0
        self.failures: dict[Reason, int] = {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0}
        self.failed_ns = 0
        self.last_ns = 0
        """When the last request came, in nanoseconds of the clock; 0 before the first."""

    def failed(self, error: ProtocolError, ns: int) -> None:
        """A request was refused after so many nanoseconds."""
        self.failures[REASONS.get(error.code, "OTHER")] += 1
        self.failed_ns += ns

    def cancelled(self, ns: int) -> None:
        """A request's client went away after so many nanoseconds."""
        self.failures["CANCELED"] += 1
        self.failed_ns += ns
