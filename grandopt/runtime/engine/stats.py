"""What an engine tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.config.serving import ServingPart
from grandopt.runtime.adaptation.tuner import TunerStats
from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.engine.direct import DirectStats
from grandopt.runtime.engine.version import Origin
from grandopt.runtime.memory.collector import CollectorStats
from grandopt.runtime.monitoring.monitor import MonitorStats
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.pipelines.pipeline import PipelineStats
from grandopt.runtime.scheduling.recurrent.sessions import SessionStats
from grandopt.runtime.scheduling.stats import BatcherStats
from grandopt.runtime.scheduling.workers.choice import Choice


@dataclass(frozen=True)
class AgentStats:
    """One agent: what answers now, how often that changed, and what each way to it has done.

    `direct` are the calls on the caller's own thread. `batches` and `cost` (the measured line) are None for
    an agent without batching, `cache` for one without a cache, `sessions` where none was asked for.
    `choice` is who computes the batches and why, with what was measured for it.
    """

    name: str
    answering: Origin
    replaced: int
    direct: DirectStats
    batches: BatcherStats | None
    cost: BatchCost | None
    cache: CacheStats | None
    sessions: SessionStats | None
    choice: Choice | None = None


@dataclass(frozen=True)
class EngineStats:
    """An engine: the `parts` that run (not those that a profile would switch on), and its agents by name.

    `pipelines` are by name. `seconds` is how long it has been there. `collector`, `adaptation` and
    `monitoring` are None where that part is off.
    """

    profile: str
    parts: tuple[ServingPart, ...]
    seconds: float
    agents: dict[str, AgentStats]
    collector: CollectorStats | None
    adaptation: TunerStats | None
    monitoring: MonitorStats | None
    pipelines: dict[str, PipelineStats]
