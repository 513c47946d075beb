"""The sockets of a server, bound before anything is loaded."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from grandopt.serving.addresses import bound
from grandopt.serving.ring.socket_path import listening_at
from grandopt.serving.server.options import ServerOptions

UDS_MODE = 0o660
"""The user and the group of the server may connect."""


@dataclass
class Listeners:
    """What one process listens on; `own` is a Unix socket that is removed at the end, if it is still there:
    its path, device and inode."""

    tcp: list[socket.socket] = field(default_factory=list)
    unix: list[socket.socket] = field(default_factory=list)
    metrics_tcp: list[socket.socket] = field(default_factory=list)
    grpc_tcp: list[socket.socket] = field(default_factory=list)
    own: tuple[Path, int, int] | None = None

    def http(self) -> tuple[socket.socket, ...]:
        return (*self.tcp, *self.unix)

    def metrics(self) -> tuple[socket.socket, ...]:
        return tuple(self.metrics_tcp)

    def grpc(self) -> tuple[socket.socket, ...]:
        return tuple(self.grpc_tcp)

    def close(self) -> None:
        """Give all back; twice is allowed."""
        for one in (*self.tcp, *self.unix, *self.metrics_tcp, *self.grpc_tcp):
            one.close()
        if self.own is not None:
            path, *made = self.own
            with suppress(OSError):  # it is gone already
                found = path.lstat()
                if [found.st_dev, found.st_ino] == made:  # and not another server's
                    path.unlink()
            self.own = None


def listeners(options: ServerOptions) -> Listeners:
    """The sockets of a server of one process; raises ConfigError for what cannot be had."""
    made = Listeners()
    shared = options.workers > 1
    if shared:
        _require_free(options.host, (options.http_port, options.metrics_port, options.grpc_port))
    try:
        if options.http_port is not None:
            made.tcp += bound(options.host, options.http_port, shared=shared)
        if options.metrics_port is not None:
            made.metrics_tcp += bound(options.host, options.metrics_port, shared=shared)
        if options.grpc_port is not None:
            made.grpc_tcp += bound(options.host, options.grpc_port, shared=shared)
        if options.uds is not None:
            made.unix.append(listening_at(options.uds, UDS_MODE))
            found = options.uds.lstat()
            made.own = options.uds, found.st_dev, found.st_ino
    except BaseException:
        made.close()
        raise
    return made


def _require_free(host: str, ports: tuple[int | None, ...]) -> None:
    """Raise ConfigError for a port where another server listens: sockets that share theirs would join it."""
    for port in ports:
        for one in bound(host, port) if port else ():
            one.close()


def with_ports(options: ServerOptions, made: Listeners) -> ServerOptions:
    """The options with the ports that the sockets have got."""
    return replace(
        options,
        http_port=made.tcp[0].getsockname()[1] if made.tcp else None,
        metrics_port=made.metrics_tcp[0].getsockname()[1] if made.metrics_tcp else None,
        grpc_port=made.grpc_tcp[0].getsockname()[1] if made.grpc_tcp else None,
    )
