"""The base of all configuration models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of all configuration models: frozen, and an unknown field is an error."""

    # Built when it is first used: of the models that a process imports it uses few.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
