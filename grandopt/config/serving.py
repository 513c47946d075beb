"""What a serving engine switches on, and the bounds of its parts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from grandopt.errors import ConfigError

ServingPart = Literal["cache", "memory", "batching", "adaptation", "monitoring", "pinning"]
"""Parts of a serving engine that are switched on or off. `cache`: agents that are loaded with a cache have
one. `memory`: garbage is collected in idle moments. `batching`: concurrent requests are computed together.
`adaptation`: settings are moved by what they are measured to do. `monitoring`: figures over time, alerts and
recommendations. `pinning`: each worker keeps to a CPU of its own."""
WorkersKind = Literal["auto", "inline", "threads", "processes"]


class ServingConfig(BaseModel):
    """The settings of a serving engine; nothing in them is left to default.

    `workers` says where batches are computed, "auto" chooses by measurement; `concurrency` is how many are at
    once, None as many as pay; `cpus` names those that workers are pinned to, without it all of this process
    where `pinning` is on. At most `batch_limit` observations are computed together. At most `queue_items`
    observations and `queue_mb` (10^6 bytes) of inputs wait for an agent; what has waited for `ageing_ms`
    overtakes higher classes now and then. Every `monitor_every_s` figures are taken. At most `sessions`
    streams of calls of a recurrent agent are open, and end when idle for `session_idle_s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cache: bool
    memory: bool
    batching: bool
    adaptation: bool
    monitoring: bool
    pinning: bool
    workers: WorkersKind = "auto"
    concurrency: int | None = Field(default=None, ge=1)
    cpus: tuple[int, ...] = ()
    batch_limit: int = Field(ge=1)
    queue_items: int = Field(ge=1)
    queue_mb: float = Field(gt=0)
    ageing_ms: float = Field(default=50.0, gt=0)
    monitor_every_s: float = Field(default=1.0, gt=0)
    sessions: int = Field(default=1024, ge=1)
    session_idle_s: float = Field(default=300.0, gt=0)

    @property
    def parts(self) -> tuple[ServingPart, ...]:
        """Those that are on."""
        return tuple(part for part in get_args(ServingPart) if getattr(self, part))


def changed(config: ServingConfig, changes: Mapping[str, Any]) -> ServingConfig:
    """`config` with the fields of `changes`; raises ConfigError for an unknown field or a wrong value."""
    for name in changes:
        if name not in ServingConfig.model_fields:
            close = difflib.get_close_matches(name, ServingConfig.model_fields, n=1, cutoff=0.5)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known: {', '.join(ServingConfig.model_fields)}"
            )
            raise ConfigError(f"unknown setting {name!r} of the serving engine ({hint})")
    try:
        return ServingConfig.model_validate({**config.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{'.'.join(map(str, first['loc']))}: {message[0].lower()}{message[1:]}, "
            f"got {first['input']!r:.60}"
        ) from error
