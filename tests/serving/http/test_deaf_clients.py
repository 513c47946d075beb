"""Connections whose clients read nothing end, whatever they send meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from grandopt.serving.http.connection import Connection
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.http.service import Service
from tests.serving.http.planes import Doubling, infer, json_body

LIMITS = HttpLimits(write_s=1.0, idle_s=30.0, body_s=30.0)


class Deaf(asyncio.Transport):
    """Takes what is written and sends nothing of it, so that closing it never ends."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""

    def writelines(self, list_of_data: object) -> None:
        """See asyncio.Transport."""

    def pause_reading(self) -> None:
        """See asyncio.Transport."""

    def resume_reading(self) -> None:
        """See asyncio.Transport."""

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Service, Connection, Deaf]:
    service, transport = Service(Doubling(), (), LIMITS), Deaf()
    connection = Connection(service)
    connection.connection_made(transport)
    return service, connection, transport


def rest_of_a_body(connection: Connection, request: bytes) -> None:
    connection.data_received(request[-10:])


def nothing(connection: Connection, request: bytes) -> None:
    pass


@pytest.mark.parametrize("sends", [nothing, rest_of_a_body])
def test_it_ends_when_writing_takes_too_long(sends: Callable[[Connection, bytes], None]) -> None:
    async def test() -> None:
        service, connection, transport = connected()
        request = infer(json_body([1.0]), "slow")
        connection.data_received(request + request[:-10])
        connection.pause_writing()
        sends(connection, request)
        await asyncio.sleep(0)
        service.now = connection.deadline + 0.1
        assert service.now < LIMITS.idle_s, "the deadline is that of writing"
        connection.expire()
        assert transport.aborted
        connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(test())


def test_it_ends_when_closing_takes_too_long() -> None:
    async def test() -> None:
        service, connection, transport = connected()
        connection.data_received(infer(json_body([1.0])))
        service.now = connection.deadline + 0.1
        connection.expire()
        assert transport.closed
        assert not transport.aborted
        service.now = connection.deadline + 0.1
        connection.expire()
        assert transport.aborted
        connection.connection_lost(None)

    asyncio.run(test())
