"""How a client gets a ring: what it says at the server's socket, and what it is given."""

from __future__ import annotations

import array
import mmap
import os
import socket

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.ring.layout import HELLO, MAGIC, NAME, REPLY, VERSION
from grandopt.serving.ring.status import Status, error_of

PATIENCE_S = 10.0
"""Seconds that the server has to hand out a ring."""


def connected(path: str, agent: str, slots: int) -> tuple[socket.socket, mmap.mmap]:
    """The connection, which stays open as long as the ring is used, and the ring's memory.

    Raises ProtocolError where there is no server, or it hands out no ring.
    """
    name = agent.encode()
    if not 0 < len(name) < NAME:
        raise ProtocolError(
            Code.INVALID, f"the name of an agent has 1 to {NAME - 1} bytes, got {agent!r:.80}"
        )
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(PATIENCE_S)
    try:
        made.connect(path)
        made.sendall(HELLO.pack(MAGIC, VERSION, slots, name))
        reply, file = _reply(made)
    except OSError as error:
        made.close()
        why = error.strerror or str(error)
        raise ProtocolError(Code.UNAVAILABLE, f"{path}: no ring can be had there: {why}") from error
    magic, version, status, text = REPLY.unpack(reply) if len(reply) == REPLY.size else (b"", 0, 0, b"")
    try:
        if magic.rstrip(b"\0") != MAGIC:
            raise ProtocolError(Code.INVALID, f"{path}: what answers there hands out no rings")
        if status != Status.OK:
            raise error_of(status, text_of(text))
        if version != VERSION or file < 0:
            raise ProtocolError(Code.INVALID, f"{path}: the server speaks version {version} of the ring")
        memory = mmap.mmap(file, os.fstat(file).st_size)
    except BaseException:
        made.close()
        raise
    finally:
        if file >= 0:
            os.close(file)
    made.setblocking(False)
    return made, memory


def _reply(made: socket.socket) -> tuple[bytes, int]:
    reply, file = b"", -1
    while len(reply) < REPLY.size:
        more, told, _, _ = made.recvmsg(
            REPLY.size - len(reply), socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in told:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and file < 0:
                file = array.array("i", data[:4])[0]
        if not more:
            break
        reply += more
    return reply, file


def text_of(raw: bytes) -> str:
    """The text of a field that ends with a zero byte."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
