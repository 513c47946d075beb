"""`grpc.health.v1.Health`: what orchestrators probe."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from grandopt.serving.grpc.arrivals import Arrivals
from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.service_schemas import HEALTH
from grandopt.serving.grpc.status import Context, abort
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError

SERVICES = ("", f"{INFERENCE.package}.{INFERENCE.service}")
"""The server as a whole, and its one service of its own: both serve when all agents are ready."""

WATCH_S = 0.5
"""How often a watched status is looked at."""


class Health:
    """Its three calls."""

    def __init__(self, plane: DataPlane, arrivals: Arrivals) -> None:
        self._plane, self._arrivals = plane, arrivals

    def handler(self) -> grpc.GenericRpcHandler:
        """What gRPC serves."""
        return grpc.method_handlers_generic_handler(
            f"{HEALTH.package}.{HEALTH.service}",
            {
                "Check": self._arrivals.unary(self.check),
                "List": self._arrivals.unary(self.list),
                "Watch": self._arrivals.answering(self.watch),
            },
        )

    async def check(self, data: bytes, context: Context) -> bytes:
        """The status of a service; NOT_FOUND for one that there is not."""
        try:
            service = _service(data)
            if service not in SERVICES:
                raise ProtocolError(
                    Code.NOT_FOUND, f"service {service!r:.80} is none of {', '.join(SERVICES[1:])}"
                )
        except ProtocolError as error:
            return await abort(context, error)
        return encode(HEALTH, "HealthCheckResponse", self._status(service))

    async def list(self, data: bytes, context: Context) -> bytes:
        """The status of all."""
        statuses = {service: self._status(service) for service in SERVICES}
        return encode(HEALTH, "HealthListResponse", {"statuses": statuses})

    async def watch(self, data: bytes, context: Context) -> None:
        """The status now, and whenever it changes, until the client goes or the server stops."""
        try:
            service = _service(data)
        except ProtocolError as error:
            await abort(context, error)
        said = None
        while True:
            status = self._status(service)
            if status != said:
                said = status
                await context.write(encode(HEALTH, "HealthCheckResponse", status))
            await asyncio.sleep(WATCH_S)

    def _status(self, service: str) -> dict[str, Any]:
        if service not in SERVICES:
            return {"status": "SERVICE_UNKNOWN"}
        return {"status": "SERVING" if self._plane.ready else "NOT_SERVING"}


def _service(data: bytes) -> str:
    return str(decode(HEALTH, "HealthCheckRequest", data).get("service", ""))
