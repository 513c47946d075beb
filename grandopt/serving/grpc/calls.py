"""All calls but inference, each from the message it gets to the message it gives, as mappings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.plane.regions import Regions
from grandopt.serving.protocol.errors import Code, ProtocolError

Json = dict[str, Any]
Answer = Callable[[DataPlane, Json], Awaitable[Json]]

_LISTS = frozenset(("trace_level",))
"""Settings of tracing that have several values; in JSON the others are one text."""


async def server_live(plane: DataPlane, request: Json) -> Json:
    return {"live": plane.live}


async def server_ready(plane: DataPlane, request: Json) -> Json:
    return {"ready": plane.ready}


async def model_ready(plane: DataPlane, request: Json) -> Json:
    return {"ready": plane.model_ready(*_model(request))}


async def server_metadata(plane: DataPlane, request: Json) -> Json:
    return plane.server_metadata()


async def model_metadata(plane: DataPlane, request: Json) -> Json:
    return plane.model_metadata(*_model(request))


async def model_config(plane: DataPlane, request: Json) -> Json:
    return {"config": plane.model_config(*_model(request))}


async def model_statistics(plane: DataPlane, request: Json) -> Json:
    return await plane.all_statistics(*_model(request))


async def repository_index(plane: DataPlane, request: Json) -> Json:
    return {"models": plane.index(request.get("ready", False))}


async def load(plane: DataPlane, request: Json) -> Json:
    await plane.load(request.get("model_name", ""), _plain(request.get("parameters", {})))
    return {}


async def unload(plane: DataPlane, request: Json) -> Json:
    await plane.unload(request.get("model_name", ""), _plain(request.get("parameters", {})))
    return {}


async def system_status(plane: DataPlane, request: Json) -> Json:
    found = _regions(plane).status(request.get("name", ""))
    return {"regions": {one["name"]: one for one in found}}


async def system_register(plane: DataPlane, request: Json) -> Json:
    name, key = request.get("name", ""), request.get("key", "")
    _regions(plane).register(name, key, request.get("offset", 0), request.get("byte_size", 0))
    return {}


async def system_unregister(plane: DataPlane, request: Json) -> Json:
    _regions(plane).unregister(request.get("name", ""))
    return {}


async def cuda(plane: DataPlane, request: Json) -> Json:
    raise ProtocolError(
        Code.UNSUPPORTED, "CUDA shared memory is not served; agents run on the processor here"
    )


async def trace_setting(plane: DataPlane, request: Json) -> Json:
    changes: Json = {}
    for name, setting in request.get("settings", {}).items():
        values = setting.get("value", [])
        several = name in _LISTS or len(values) > 1
        changes[name] = values if several and values else values[0] if values else None
    found = plane.trace_settings(changes or None, request.get("model_name", ""))
    return {
        "settings": {
            name: {"value": [str(one) for one in (value if isinstance(value, list) else [value])]}
            for name, value in found.items()
        }
    }


async def log_settings(plane: DataPlane, request: Json) -> Json:
    changes = _plain(request.get("settings", {}))
    found = await plane.set_logging(changes) if changes else plane.logging_settings()
    return {"settings": {name: {_choice(value): value} for name, value in found.items()}}


CALLS: dict[str, Answer] = {
    "ServerLive": server_live,
    "ServerReady": server_ready,
    "ModelReady": model_ready,
    "ServerMetadata": server_metadata,
    "ModelMetadata": model_metadata,
    "ModelConfig": model_config,
    "ModelStatistics": model_statistics,
    "RepositoryIndex": repository_index,
    "RepositoryModelLoad": load,
    "RepositoryModelUnload": unload,
    "SystemSharedMemoryStatus": system_status,
    "SystemSharedMemoryRegister": system_register,
    "SystemSharedMemoryUnregister": system_unregister,
    "CudaSharedMemoryStatus": cuda,
    "CudaSharedMemoryRegister": cuda,
    "CudaSharedMemoryUnregister": cuda,
    "TraceSetting": trace_setting,
    "LogSettings": log_settings,
}

HEALTH_CALLS = frozenset(("ServerLive", "ServerReady", "ModelReady"))
"""What probes ask, without a token."""


def changes_state(name: str, request: Json) -> bool:
    """Whether a call changes what others see: settings do when they come with any."""
    if name in ("TraceSetting", "LogSettings"):
        return bool(request.get("settings"))
    return name.endswith(("Load", "Unload", "Register", "Unregister"))


def _model(request: Json) -> tuple[str, str]:
    return request.get("name", ""), request.get("version", "")


def _plain(parameters: Json) -> Json:
    """Parameters as values, which come as the one field of a choice."""
    return {name: next(iter(choice.values()), None) for name, choice in parameters.items()}


def _choice(value: bool | int | str) -> str:
    return (
        "bool_param"
        if isinstance(value, bool)
        else "uint32_param"
        if isinstance(value, int)
        else "string_param"
    )


def _regions(plane: DataPlane) -> Regions:
    if plane.regions is None:
        raise ProtocolError(
            Code.UNSUPPORTED, "shared memory of clients is off; start the server with --allow-client-shm"
        )
    return plane.regions
