"""`grpc.health.v1.Health`: what orchestrators probe."""

from __future__ import annotations

import asyncio
from typing import Any

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.http2.methods import Asker, Method, Stream, Streamed, Unary
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.service_schemas import HEALTH
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError

SERVICES = ("", f"{INFERENCE.package}.{INFERENCE.service}")
"""The server as a whole, and its one service of its own: both serve when all agents are ready."""

WATCH_S = 0.5
"""How often a watched status is looked at."""


class Health:
    """Its three calls."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def methods(self) -> dict[str, Method]:
        """What is served, by its name."""
        return {
            "Check": Unary(answer=self.check),
            "List": Unary(answer=self.list),
            "Watch": Streamed(answers=self.watch, asks_once=True),
        }

    def check(self, data: bytes, asker: Asker, left_s: float | None) -> bytes:
        """The status of a service; NOT_FOUND for one that there is not."""
        service = _service(data)
        if service not in SERVICES:
            raise ProtocolError(
                Code.NOT_FOUND, f"service {service!r:.80} is none of {', '.join(SERVICES[1:])}"
            )
        return encode(HEALTH, "HealthCheckResponse", self.status(service))

    def list(self, data: bytes, asker: Asker, left_s: float | None) -> bytes:
        """The status of all."""
        statuses = {service: self.status(service) for service in SERVICES}
        return encode(HEALTH, "HealthListResponse", {"statuses": statuses})

    def watch(self, call: Stream) -> Watch:
        """The status now, and whenever it changes, until the client goes or the server stops."""
        return Watch(self, call)

    def status(self, service: str) -> dict[str, Any]:
        """Of a service, as the message has it."""
        if service not in SERVICES:
            return {"status": "SERVICE_UNKNOWN"}
        return {"status": "SERVING" if self._plane.ready else "NOT_SERVING"}


class Watch:
    """One call that watches."""

    def __init__(self, health: Health, call: Stream) -> None:
        self._health, self._call = health, call
        self._service: str | None = None
        self._said: dict[str, Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> bool:
        """Whether another message is taken now: there is one question."""
        return True

    def message(self, data: bytes) -> None:
        """What is to be watched."""
        if self._service is not None:
            raise ProtocolError(Code.INVALID, "the call has more than one request")
        self._service = _service(data)
        self._look()

    def end(self) -> None:
        """The question was all that the client says."""
        if self._service is None:
            raise ProtocolError(Code.INVALID, "the call ended without a request")

    def stop(self) -> None:
        """Say how it is now, and end."""
        self._say()
        self._call.finish(ProtocolError(Code.UNAVAILABLE, "the server stops", 1.0))

    def gone(self) -> None:
        """Nobody watches any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._say()
        self._timer = asyncio.get_running_loop().call_later(WATCH_S, self._look)

    def _say(self) -> None:
        if self._service is None or self._call.blocked:
            return
        status = self._health.status(self._service)
        if status != self._said:
            self._said = status
            self._call.write(encode(HEALTH, "HealthCheckResponse", status))


def _service(data: bytes) -> str:
    return str(decode(HEALTH, "HealthCheckRequest", data).get("service", ""))
