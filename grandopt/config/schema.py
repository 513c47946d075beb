"""The frozen models that describe a job. No engine and no torch is imported here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from grandopt.config.cache import CacheConfig
from grandopt.config.engine import Precision
from grandopt.config.engines import EngineName
from grandopt.config.gate import GateConfig
from grandopt.config.model import Model
from grandopt.config.names import ProfileName, check_agent_name

Goal = Literal["latency", "throughput", "memory", "balanced"]
BoundValue = float | list[float] | None
Distribution = Literal["none", "gaussian", "beta", "categorical"]

STORE_LIMIT_MB = 2000.0
"""What the store of built artifacts may take on disk by default, in MB (10^6 bytes)."""


class InputConfig(Model):
    """One input of an agent, without its batch dimension. Without `dtype` that follows from the weights."""

    name: str
    shape: tuple[int, ...]
    dtype: str | None = None
    low: BoundValue = None
    high: BoundValue = None


class StateConfig(Model):
    """One tensor of a recurrent state, declared under the name of the input that takes it.

    `output` names the output that holds its next value. `initial` is its value before the first call: one
    number, or one per element in row-major order. `batch_axis` is where the network has the batch in it;
    the artifact has it first.
    """

    output: str
    initial: float | list[float] = 0.0
    batch_axis: int = Field(default=0, ge=0)


class BoundsConfig(Model):
    """Between which values an environment takes actions: one number each, or one for each element."""

    low: float | list[float]
    high: float | list[float]

    @model_validator(mode="after")
    def _in_order(self) -> BoundsConfig:
        count = max(len(value) if isinstance(value, list) else 1 for value in (self.low, self.high))
        lows, highs = self.each(count)
        if len(lows) != len(highs):
            raise ValueError(f"'low' holds {len(lows)} numbers, 'high' {len(highs)}")
        for low, high in zip(lows, highs, strict=True):
            if not -math.inf < low < high < math.inf:
                raise ValueError(f"'low' must be below 'high' and both finite, got {low:g} and {high:g}")
        return self

    def each(self, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Low and high, a single number as `count` equal ones."""
        low, high = (
            tuple(value) if isinstance(value, list) else (value,) * count for value in (self.low, self.high)
        )
        return low, high


class AgentConfig(Model):
    """One agent: exactly one of `checkpoint` and `reference` says where it comes from.

    `outputs` names the network's outputs in order, or, by the names that it has for them, those that are
    kept. `state` declares its recurrent state, input by input; the short form `{h: h_next}` stands for
    `{h: {output: h_next}}`. `stepwise` turns a network that reads whole sequences [T, …] into one that takes
    a step at a time. `fix` gives arguments of an archive that are no tensors, such as `deterministic`, their
    value, and those that a training checkpoint lacks; `method` is the method of an archive that is called in
    the place of `forward`. With `realtime` only builds under the real-time contract are candidates.

    Of training checkpoints: `framework` is the one that wrote it, "none" to have it read as a plain state
    dict. `activation`, `statistics` (of the observations; "none": the agent goes without), `bounds` (of the
    actions; "none": they are not clipped) and `distribution` say what its file does not.
    """

    checkpoint: Path | None = None
    reference: str | None = None
    key: str | None = None
    network: str | None = None
    network_args: dict[str, Any] = Field(default_factory=dict)
    inputs: tuple[InputConfig, ...] = ()
    outputs: tuple[str, ...] = ()
    state: dict[str, StateConfig] = Field(default_factory=dict)
    stepwise: bool = False
    fix: dict[str, bool | int | float | str] = Field(default_factory=dict)
    method: str | None = None
    samples: Path | None = None
    vecnormalize: Path | Literal["auto", "none"] = "auto"
    framework: str | None = None
    activation: str | None = None
    statistics: Path | Literal["none"] | None = None
    bounds: BoundsConfig | Literal["none"] | None = None
    distribution: Distribution | None = None
    trust: bool = False
    realtime: bool = False
    target_latency_ms: float | None = Field(default=None, gt=0)
    target_throughput: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> AgentConfig:
        if (self.checkpoint is None) == (self.reference is None):
            raise ValueError("give exactly one of 'checkpoint' (a file) and 'reference' (a built-in agent)")
        for name in ("outputs", "state", "stepwise"):
            if self.reference is not None and getattr(self, name):
                raise ValueError(f"'{name}' cannot be used with a reference agent, which keeps no state")
        if self.stepwise and (self.state or self.outputs):
            raise ValueError("'stepwise' finds the state itself; remove 'state' and 'outputs'")
        return self

    @field_validator("state", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"output": item} if isinstance(item, str) else item for name, item in value.items()}

    @field_validator("network")
    @classmethod
    def _module_and_callable(cls, value: str | None) -> str | None:
        if value is not None and value.count(":") != 1:
            raise ValueError(f"must read 'module:callable', got {value!r}")
        return value


class Limits(Model):
    """What a candidate of reduced precision may differ by; float32 candidates have the float32 rule."""

    relative_l2: float = Field(gt=0)
    agreement: float = Field(gt=0, le=1)


class Profile(Model):
    """A named bundle of settings (see `profiles.py`), possibly changed by a file or the command line."""

    name: ProfileName
    engines: tuple[EngineName, ...]
    precisions: tuple[Precision, ...]
    trials: int = Field(ge=0)
    budget_s: float = Field(gt=0)
    target_latency_ms: float = Field(gt=0)
    target_throughput: float = Field(gt=0)
    memory_limit_mb: float = Field(gt=0)
    limits: Limits


class FleetConfig(Model):
    """The store of builds that machines share: a folder, or s3://BUCKET/PREFIX.

    With `require_signature`, a file or folder of public keys, only builds that one of them signed are taken;
    `signing_key` is the file of the private key that signs those made here.
    """

    store: str | None = Field(default=None, min_length=1)
    require_signature: Path | None = None
    signing_key: Path | None = None


class FileConfig(Model):
    """What a `grandopt.yaml` may hold."""

    profile: ProfileName | None = None
    agents: dict[str, AgentConfig] = Field(default_factory=dict)
    engines: tuple[EngineName, ...] | None = None
    precisions: tuple[Precision, ...] | None = None
    levels: tuple[str, ...] | None = None
    threads: int | Literal["auto"] | None = None
    budget_s: float | None = Field(default=None, gt=0)
    trials: int | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=0)
    output: Path | None = None
    strict: bool | None = None
    store_limit_mb: float | None = Field(default=None, gt=0)
    compare: GateConfig = GateConfig()
    cache: CacheConfig = Field(default_factory=CacheConfig)
    fleet: FleetConfig = Field(default_factory=FleetConfig)

    @field_validator("agents")
    @classmethod
    def _names_are_folders(cls, value: dict[str, AgentConfig]) -> dict[str, AgentConfig]:
        for name in value:
            check_agent_name(name)
        return value


class Job(Model):
    """A resolved job: nothing in it is left to default.

    `levels` are the CPU feature levels that the native engine builds for; without any, it builds for those
    that matter for the precision. With `go_on` an agent that cannot be opened does not stop the others.
    `storage` is the URL of a database of trials and claims, which machines may share.
    """

    agents: dict[str, AgentConfig]
    profile: Profile
    go_on: bool = False
    levels: tuple[str, ...] = ()
    threads: int | Literal["auto"] = 1
    seed: int = 0
    output: Path = Path()
    strict: bool = False
    resume: bool = True
    store_limit_mb: float = Field(default=STORE_LIMIT_MB, gt=0)
    storage: str | None = Field(default=None, repr=False)
    fleet: FleetConfig = Field(default_factory=FleetConfig)
