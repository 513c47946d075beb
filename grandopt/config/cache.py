"""Where a cache of answers keeps them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from grandopt.config.model import Model

EvictionPolicy = Literal["adaptive", "lru", "lfu"]


class CacheConfig(Model):
    """Where answers are kept, and which inputs count as equal (see `grandopt.cached`).

    The levels: memory always; compressed memory, a folder and a Redis server where they are named. Sizes are
    in MB (10^6 bytes). `steps` gives the inputs, by name, whose features are rounded to multiples of a step
    (one, or one per feature in row-major order; 0: not rounded) before they are compared.
    """

    policy: EvictionPolicy = "adaptive"
    entries: int = Field(default=10_000, ge=1)
    memory_mb: float = Field(default=64.0, gt=0)
    compressed_mb: float | None = Field(default=None, gt=0)
    folder: Path | None = None
    folder_mb: float = Field(default=1000.0, gt=0)
    redis: str | None = None
    redis_namespace: str = "default"
    redis_limit_ms: float = Field(default=50.0, gt=0)
    ttl_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    must_pay: bool = True
    steps: dict[str, float | list[float]] = Field(default_factory=dict)

    @field_validator("steps")
    @classmethod
    def _steps_are_sizes(cls, value: dict[str, float | list[float]]) -> dict[str, float | list[float]]:
        for name, given in value.items():
            for step in given if isinstance(given, list) else [given]:
                if not 0 <= step < math.inf:
                    raise ValueError(f"a step of {name!r} must be 0 or a positive number, got {step}")
        return value
