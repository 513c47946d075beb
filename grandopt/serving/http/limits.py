"""How much a client may ask for, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from grandopt.errors import ConfigError

MIB = 1 << 20


@dataclass(frozen=True)
class HttpLimits:
    """Bounds of requests and connections; what exceeds one is refused with an error that names it.

    `body_bytes` is as sent, `inflated_bytes` after decompression, `bodies_bytes` of all bodies that are being
    received together. `chunks` are those of a chunked body, `depth` is of nested JSON, `tensors` counts
    inputs and outputs each. `pipelined` requests of one connection are open at most, `in_flight` of all.
    Times in seconds: `header_s` and `body_s` for receiving one, `write_s` for a client that does not read,
    `idle_s` between requests, `gone_s` for answers to a client that has ended its side of the connection.
    """

    body_bytes: int = 64 * MIB
    inflated_bytes: int = 64 * MIB
    bodies_bytes: int = 512 * MIB
    header_bytes: int = 32 << 10
    headers: int = 100
    url_bytes: int = 8 << 10
    chunks: int = 65_536
    depth: int = 100
    tensors: int = 256
    connections: int = 4096
    in_flight: int = 8192
    pipelined: int = 64
    header_s: float = 10.0
    body_s: float = 60.0
    write_s: float = 60.0
    idle_s: float = 75.0
    gone_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"the limit {field.name} must be positive, got {value}")
