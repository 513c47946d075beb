"""Figures of one engine and the ratio of two, as a report holds them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from grandopt.private import told

PERCENTILES = ("p90_us", "p95_us", "p99_us", "p999_us")


def plain(value: Any) -> Any:
    """`value` as plain JSON data: tuples as lists, paths as text, non-finite numbers as their names."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"must be plain data, got {type(value).__name__}")


PlainDict = Annotated[dict[str, Any], BeforeValidator(plain)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Threads = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

# For `Field(json_schema_extra=...)`: the field came with that version of the report.
SINCE_2: JsonDict = {"since": 2}
SINCE_3: JsonDict = {"since": 3}
SINCE_4: JsonDict = {"since": 4}
PERHAPS_4: JsonDict = {"since": 4, "optional": True}
"""Of fields that came while version 4 was made: a report of it may lack them."""


class ReportModel(BaseModel):
    """Base of everything in a report: frozen, no unknown field, every number finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )

    def without_private(self) -> Self:
        """The same without passwords, and without where things lie on this machine (see `private.told`)."""
        return type(self).model_validate_json(json.dumps(told(self.model_dump(mode="json"))))


class DistributionReport(ReportModel):
    """The latency of single calls as points of their empirical distribution function.

    `shares[i]` of the calls, pooled over all processes, took at most `us[i]` µs; share 0 is the fastest call.
    Each point is a call that was made, the cost of reading the clock included. Both rise, and hold 64 at
    most.
    """

    shares: tuple[Share, ...] = Field(min_length=1, max_length=64)
    us: tuple[Amount, ...]

    @model_validator(mode="after")
    def _rises(self) -> DistributionReport:
        if len(self.shares) != len(self.us):
            raise ValueError(f"{len(self.shares)} shares cannot go with {len(self.us)} latencies")
        if any(list(values) != sorted(values) for values in (self.shares, self.us)):
            raise ValueError("the points of a distribution must rise")
        return self


class LimitReport(ReportModel):
    """The least µs that a call can take on this machine at a precision, and what sets it.

    `bound` is "reading" the weights, from `cache` and those inside of it, or "arithmetic"; `speed` is how
    fast all `threads` together do it with these `instructions`, in 10^9 bytes or operations a second.
    `source` is "kernels", which nothing can pass, or "float32 BLAS" where there was no C compiler to measure
    by: numpy's figures, which an engine can pass.
    """

    us: Amount
    bound: Literal["reading", "arithmetic"]
    precision: str
    instructions: str
    cache: str | None
    speed: Amount
    threads: Threads
    source: Literal["kernels", "float32 BLAS"]


class Figures(ReportModel):
    """What was measured of one engine. Latencies are of single calls, in µs; null was not measured.

    `unavailable` gives the reason for every percentile that is null. `calls_to_stable`, `load_ms`,
    `first_call_ms` and `process_ms` (start of a process to its first result) are the cold figures.
    `cpu_s_per_million` is core-seconds per million calls, spinning threads included. `resident_mb` is the
    resident set of a fresh process in MB (10^6 bytes), `artifact_bytes` the size on disk without the program
    that is only carried for exports; `cold_measured` says when the figures of a fresh process were taken,
    which may be an earlier run on this machine. `limit_us` is the least that this machine could need (as
    `limit` says; in earlier reports at float32), and `limit_factor` the median as a multiple of it; a median
    that is `below_limit` shows that the limit is wrong. `distribution` is kept for calls of one observation.
    `p50_low_us` to `p50_high_us` is the 95 % interval of the median over so many `processes`; `stable`
    says whether it is at most 10 % wide, and that of the speed-up over the original, where there is one.

    `p50_us` is that of rounds in which the original and the builds take turns. `warm_us` is the median of
    calls after many of the same, `after_other_work_us` that of calls before each of which something else read
    and wrote `other_work_bytes`; each compares with its like alone.
    """

    p50_us: Amount
    p50_low_us: Amount | None = Field(default=None, json_schema_extra=PERHAPS_4)
    p50_high_us: Amount | None = Field(default=None, json_schema_extra=PERHAPS_4)
    processes: Count | None = Field(default=None, json_schema_extra=PERHAPS_4)
    p90_us: Amount | None = None
    p95_us: Amount | None = None
    p99_us: Amount | None = None
    p999_us: Amount | None = None
    unavailable: dict[str, str] = Field(default_factory=dict)
    mean_us: Amount | None = None
    qps: Amount | None = None
    samples: Count | None = None
    stable: bool | None = None
    cpu_s_per_million: Amount | None = None
    calls_to_stable: Count | None = None
    load_ms: Amount | None = None
    first_call_ms: Amount | None = None
    process_ms: Amount | None = None
    resident_mb: Amount | None = None
    cold_measured: str | None = None
    artifact_bytes: Count | None = None
    timer_overhead_ns: Amount | None = None
    limit_us: Amount | None = None
    limit_factor: Amount | None = None
    limit: LimitReport | None = Field(default=None, json_schema_extra=PERHAPS_4)
    below_limit: bool | None = Field(default=None, json_schema_extra=PERHAPS_4)
    warm_us: Amount | None = Field(default=None, json_schema_extra=PERHAPS_4)
    after_other_work_us: Amount | None = Field(default=None, json_schema_extra=PERHAPS_4)
    other_work_bytes: Count | None = Field(default=None, json_schema_extra=PERHAPS_4)
    distribution: DistributionReport | None = Field(default=None, json_schema_extra=SINCE_2)

    @model_validator(mode="after")
    def _reasons(self) -> Figures:
        for name in PERCENTILES:
            if getattr(self, name) is None and name not in self.unavailable:
                raise ValueError(f"{name} is null, so 'unavailable' must hold the reason under {name!r}")
        return self


class BatchPoint(ReportModel):
    """One batch size: the median latency of a call, and observations per second."""

    batch: Threads
    p50_us: Amount
    throughput: Amount
    calls: Count
    stable: bool


class CurveReport(ReportModel):
    """Latency over the batch size n of one candidate, and the line `per_observation_us` · n + `fixed_us`.

    `fit` says how the line was found and `worst` is the largest distance of a point from it, as a fraction;
    all three are null for fewer than three points. `reason` says why batch sizes are missing. `measured` is
    the moment, which may be in an earlier run on this machine.
    """

    label: str
    threads: Threads
    points: tuple[BatchPoint, ...]
    per_observation_us: float | None = None
    fixed_us: float | None = None
    worst: Amount | None = None
    fit: str | None = None
    reason: str | None = None
    measured: str | None = None


class OperatorRow(ReportModel):
    """An operator's own time in one call, under a profiler; `share` is of all operators.

    `layer` is its place in the original network, null where the engine no longer knows it.
    """

    operator: str
    layer: str | None
    calls: Amount
    us: Amount
    share: Amount


class LayerTime(ReportModel):
    """The time of a layer's operators in one call; the layer "" is the network itself."""

    layer: str
    us: Amount
    share: Amount


class OperatorReport(ReportModel):
    """Where the time of one call goes.

    `call_us` is the median without a profiler. `engine_us` is that of an agent that only copies 8 floats,
    through the same engine: what the engine spends on itself; `engine_reason` says why it is null, or in what
    that agent differs. `reason` says why there are no operators.
    """

    label: str
    engine: str
    call_us: Amount | None = None
    operators: tuple[OperatorRow, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    engine_us: Amount | None = None
    engine_share: Amount | None = None
    engine_reason: str | None = None
    fused: tuple[str, ...] = ()
    reason: str | None = None


class RatioReport(ReportModel):
    """A paired speed-up (original ÷ candidate, so above 1 is faster) with its bootstrap interval."""

    value: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    pairs: Count


class BatchFigures(ReportModel):
    """The figures of calls with `batch` observations each; `figures.qps` counts observations."""

    batch: Threads
    figures: Figures


class LeadReport(ReportModel):
    """How many times as fast `label`, the fastest of `engine`, is as `rival_label`, the fastest other.

    `precision` says what took part: builds at float32 alone, or all that verification admitted ("any").
    """

    precision: Literal["float32", "any"]
    batch: Threads = 1
    engine: str
    label: str
    rival: str
    rival_label: str
    ratio: RatioReport


class MeanLeadReport(ReportModel):
    """The geometric mean of an engine's leads over so many agents, and the ends of their range."""

    precision: Literal["float32", "any"]
    batch: Threads = 1
    engine: str
    agents: Threads
    ratio: float = Field(gt=0)
    least: float = Field(gt=0)
    largest: float = Field(gt=0)
