"""The requests of the memory benchmark, each with what a worker answers to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.runtime.memory.break_even import PoolBreakEven

BlocksKind = Literal["array", "buffer", "tensor"]


@dataclass(frozen=True)
class CalibratePool(Request[PoolBreakEven], kind="pool"):
    """Measure from which size on a pool of such memory pays (see `calibrate`)."""

    blocks: BlocksKind
    sizes: tuple[int, ...]
    live: int
    rounds: int
    max_seconds: float


@dataclass(frozen=True)
class Collections:
    """Garbage collections of the measured stretch of one generation, amid requests or at idle moments."""

    generation: int
    idle: bool
    count: int
    seconds: float


@dataclass(frozen=True)
class TailTimes:
    """What was served in one process: `tracked` objects are looked at by the garbage collector before the
    first request, and each adds `per_request`. `agent_ns` is the agent alone; `interrupted` counts how often
    the system let something else run."""

    gc_kind: str
    tracked: int
    per_request: int
    agent_ns: float
    thresholds: tuple[int, ...]
    seconds: float
    interrupted: int
    collections: tuple[Collections, ...]


@dataclass(frozen=True)
class ServeTail(Request[TailTimes], kind="tail"):
    """Serve with Python's defaults or with the collector; the nanoseconds of all requests go to `times`."""

    artifact: Path
    trust: bool
    ring: Paths
    times: Path
    sessions: int
    recent: int
    burst: int
    calls: int
    collector: bool
