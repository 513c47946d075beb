"""Hands out rings at a Unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.scheduling.workers.affinity import usable_cores
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.ring.connection import Connection
from grandopt.serving.ring.layout import HELLO, MAGIC, MOST_SLOTS, REPLY, TEXT, VERSION, text_field
from grandopt.serving.ring.options import RingOptions
from grandopt.serving.ring.socket_path import listening_at
from grandopt.serving.ring.status import Status, status_of

HELLO_S = 5.0
"""Seconds that a client has to say what it wants."""
LONGEST_S = 60.0
"""Seconds that a call may take after which a ring whose client is gone no longer counts."""
_CREDENTIALS = struct.Struct("3i")


class Served(Protocol):
    """What rings need of the data plane."""

    @property
    def engine(self) -> Engine:
        """Whose agents are asked."""


class RingServer:
    """Gives each client that connects to `path` a ring for the agent that it names.

    It belongs to the engine's event loop. A native agent's rings are answered by its compiled code, on a
    thread for each ring that does not hold the GIL; other agents' by Python. Requests go to the agent itself:
    no batching, no cache, no sample for drift. They count among the agent's direct calls.
    """

    def __init__(self, plane: Served, path: Path | str, options: RingOptions | None = None) -> None:
        self._engine = plane.engine
        self._path = Path(path)
        self._options = options or RingOptions()
        self._listener: socket.socket | None = None
        self._made: tuple[int, int] | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: set[socket.socket] = set()
        self._spinning = np.zeros(1, dtype=np.uint32)
        # One core is left to whoever asks; with a single one, looking would only keep the client from it.
        self._limit = usable_cores() - 1

    @property
    def addresses(self) -> tuple[str, ...]:
        """The path at which rings are asked for, while that is possible."""
        return () if self._listener is None else (str(self._path),)

    @property
    def rings(self) -> tuple[Connection, ...]:
        """Those in use."""
        return tuple(self._connections)

    async def start(self) -> None:
        """Hand out rings from now on; raises ConfigError where the path cannot be used."""
        self._listener = listening_at(self._path, 0o666 if self._options.any_user else 0o600)
        found = self._path.stat()
        self._made = found.st_dev, found.st_ino
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Hand out no more, answer what was sent, and tell the clients; returns within `grace_s`, or little
        more. Twice is allowed."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            self._remove_path()
        ending = list(self._connections)
        for connection in ending:
            connection.end("the server stops")
        await asyncio.gather(*[connection.ended_within(grace_s) for connection in ending])
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:  # of tasks that were ended before they began
            client.close()
        self._clients.clear()

    def _remove_path(self) -> None:
        try:
            found = self._path.lstat()
        except OSError:
            return
        if (found.st_dev, found.st_ino) == self._made:  # and not another server's
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor is free: the next one may fare better
            return
        client.setblocking(False)
        self._clients.add(client)
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        """One client, until it hangs up or its ring has ended."""
        connection = None
        try:
            connection = await self._met(client)
            if connection is not None:
                await asyncio.get_running_loop().sock_recv(client, 1)  # it never says anything more
        except OSError:  # reset
            pass
        finally:
            try:
                if connection is not None:
                    connection.end("the client hung up")
                    await asyncio.shield(connection.ended_within(LONGEST_S))
            finally:
                if connection is not None:
                    self._connections.discard(connection)
                self._clients.discard(client)
                client.close()

    async def _met(self, client: socket.socket) -> Connection | None:
        """The ring that a client gets, or None where it was refused, and told why."""
        try:
            hello = await asyncio.wait_for(self._hello(client), HELLO_S)
            connection = self._connected(client, hello)
        except TimeoutError:
            return None
        except GrandoptError as error:
            why = refused(error)
            client.send(REPLY.pack(MAGIC, VERSION, status_of(why), text_field(str(why), TEXT)))
            return None
        self._connections.add(connection)
        try:
            file = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", connection.channel.file))]
            client.sendmsg([REPLY.pack(MAGIC, VERSION, Status.OK, b"")], file)
        except OSError:
            self._connections.discard(connection)
            connection.abandon()
            raise
        finally:
            connection.channel.handed_over()
        connection.begin(partial(_hung_up, client))
        return connection

    async def _hello(self, client: socket.socket) -> bytes:
        loop, got = asyncio.get_running_loop(), b""
        while len(got) < HELLO.size:
            more = await loop.sock_recv(client, HELLO.size - len(got))
            if not more:
                raise ConnectionResetError
            got += more
            if not got.startswith(MAGIC[: len(got)]):
                break
        return got

    def _connected(self, client: socket.socket, hello: bytes) -> Connection:
        if not hello.startswith(MAGIC):
            raise ProtocolError(
                Code.INVALID, "rings are handed out here, which take grandopt_ring.h or RingClient"
            )
        _, version, slots, name = HELLO.unpack(hello)
        agent = name.rstrip(b"\0").decode("utf-8", "replace")
        user = _CREDENTIALS.unpack(
            client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )[1]
        options = self._options
        if not options.any_user and user not in (os.geteuid(), 0):
            raise ProtocolError(
                Code.FORBIDDEN, f"user {user} may not ask here; the server admits only its own"
            )
        if version != VERSION:
            raise ProtocolError(
                Code.INVALID, f"the client speaks version {version} of the ring, this server {VERSION}"
            )
        if slots > MOST_SLOTS:
            raise ProtocolError(
                Code.INVALID, f"a ring has {MOST_SLOTS} slots at most, {slots} were asked for"
            )
        if len(self._connections) >= options.rings:
            raise ProtocolError(Code.UNAVAILABLE, f"all {options.rings} rings are in use; close one")
        return Connection(
            self._engine,
            agent,
            slots or options.slots,
            int(options.spin_us * 1000),
            self._spinning,
            self._limit,
        )


def _hung_up(client: socket.socket) -> None:
    with suppress(OSError):  # it did itself
        client.shutdown(socket.SHUT_RDWR)
