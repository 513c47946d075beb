"""Where a server listens, and where its clients are."""

from __future__ import annotations

import asyncio
import errno
import socket

from grandopt.errors import ConfigError

BACKLOG = 1024


def bound(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Sockets for all addresses of a host, on one port. With `shared` other processes may listen, too,
    and these sockets do not listen yet.

    Raises ConfigError for a host that is not known here, and a port that is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host!r}: {getattr(error, 'strerror', None) or error}") from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, place in dict.fromkeys(found):
        one = socket.socket(family, kind, protocol)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            one.bind((place[0], port or (sockets[0].getsockname()[1] if sockets else 0), *place[2:]))
            if not shared:  # only that tells whether somebody else listens there
                one.listen(BACKLOG)
        except OSError as error:
            for other in (one, *sockets):
                other.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(
                    f"--host {host!r}: no address of this machine; 127.0.0.1 is, and 0.0.0.0 is all of them"
                ) from None
            raise ConfigError(
                f"{host} port {port} cannot be had ({error.strerror}); choose another, or 0 for any"
            ) from None
        one.setblocking(False)
        sockets.append(one)
    return sockets


def address(one: socket.socket, *, tls: bool = False) -> str:
    """Where a socket listens, as a client names it."""
    place = one.getsockname()
    if one.family == socket.AF_UNIX:
        return f"unix:{place}"
    host = f"[{place[0]}]" if one.family == socket.AF_INET6 else place[0]
    return f"{'https' if tls else 'http'}://{host}:{place[1]}"


def is_local(transport: asyncio.BaseTransport) -> bool:
    """Whether the other side is a program on this machine."""
    peer = transport.get_extra_info("peername")
    kind = transport.get_extra_info("socket")
    if kind is not None and kind.family == socket.AF_UNIX:
        return True
    return isinstance(peer, tuple) and (peer[0].startswith(("127.", "::ffff:127.")) or peer[0] == "::1")
