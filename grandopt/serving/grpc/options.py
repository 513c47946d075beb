"""How the gRPC server listens, and its limits."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from grandopt.serving.protocol.access import OPEN, Access


@dataclass(frozen=True)
class GrpcOptions:
    """Addresses, limits and who may ask.

    It listens at sockets that are bound (and closed by the server), or at `host` and `port` (0: any that is
    free). `tls` is the server's alone. `access` is asked for every call but those of probes.
    """

    host: str | None = "127.0.0.1"
    port: int = 8001
    sockets: tuple[socket.socket, ...] = ()
    tls: ssl.SSLContext | None = None
    access: Access = OPEN

    max_message_bytes: int = 64 << 20
    max_metadata_bytes: int = 16 << 10
    max_calls: int = 4096
    """At a time, over all connections; a stream is one."""
    max_streams: int = 2048
    """Of those, calls that last as long as their client wants."""
    request_s: float = 60.0
    """How long the request of any other call may take to arrive, and a client to take what it is sent."""
    max_calls_per_connection: int = 1024
    max_connections: int = 4096
    stream_window: int = 64
    """Requests of one stream that are under way; the next is read when one of them is answered."""
    call_window: int = 256 << 10
    connection_window: int = 4 << 20
    """Bytes that a client may send ahead, of one call and in all."""
    receiving_bytes: int = 512 << 20
    """Of requests that are not whole or wait, over all connections."""
    keepalive_s: float = 7200.0
    keepalive_timeout_s: float = 20.0
    shortest_ping_interval_s: float = 10.0
    """A client that pings more often, without any call, is disconnected."""
