"""What each profile switches on in a serving engine: the one table of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grandopt.config.names import DEFAULT_PROFILE, ProfileName, nearest
from grandopt.config.serving import ServingConfig, ServingPart, changed
from grandopt.errors import ConfigError

_SMALL: tuple[ServingPart, ...] = ("cache", "memory")
_ASYNC: tuple[ServingPart, ...] = (*_SMALL, "batching", "adaptation", "monitoring")


def _with(on: tuple[ServingPart, ...], batch_limit: int, queue_items: int, queue_mb: float) -> ServingConfig:
    return ServingConfig(
        cache="cache" in on,
        memory="memory" in on,
        batching="batching" in on,
        adaptation="adaptation" in on,
        monitoring="monitoring" in on,
        pinning="pinning" in on,
        batch_limit=batch_limit,
        queue_items=queue_items,
        queue_mb=queue_mb,
    )


SERVING: dict[ProfileName, ServingConfig] = {
    "basic": _with(_SMALL, batch_limit=64, queue_items=1024, queue_mb=16.0),
    "standard": _with(_ASYNC, batch_limit=64, queue_items=4096, queue_mb=64.0),
    "aggressive": _with(_ASYNC, batch_limit=256, queue_items=16_384, queue_mb=256.0),
    "maximum": _with((*_ASYNC, "pinning"), batch_limit=1024, queue_items=65_536, queue_mb=1024.0),
}


def serving_config(profile: str = DEFAULT_PROFILE, changes: Mapping[str, Any] | None = None) -> ServingConfig:
    """The settings of a profile with some fields changed; raises ConfigError for an unknown name or value."""
    for name, config in SERVING.items():
        if name == profile:
            return changed(config, changes or {})
    raise ConfigError(f"unknown profile {profile!r}{nearest(str(profile), SERVING)}")
