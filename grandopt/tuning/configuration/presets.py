"""Where to begin, by what the service is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grandopt.errors import ConfigError
from grandopt.tuning.configuration.condition import Value
from grandopt.tuning.configuration.constraints import Constraint
from grandopt.tuning.configuration.goals import OptimizationGoal


@dataclass(frozen=True)
class Preset:
    """A configuration to start from, what to search for around it, and why.

    `values` are those that differ from the defaults, or matter here. None of it is measured on the machine
    at hand: a search with this `goal` and these `constraints` is.
    """

    name: str
    why: str
    values: dict[str, Value]
    goal: OptimizationGoal
    constraints: tuple[Constraint, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "why": self.why,
            "values": self.values,
            "goal": self.goal.value,
            "constraints": [constraint.to_json() for constraint in self.constraints],
        }


PRESETS = (
    Preset(
        "high-frequency",
        "Decisions on which microseconds count, as in trading. Computed on the event loop's own thread, "
        "because a hop to another costs more than a small agent; small batches, so that nobody waits for "
        "many others; a short queue, because a late decision is worth nothing; no cache, as observations "
        "hardly ever repeat; garbage is collected in idle moments.",
        {
            "batching": True, "workers": "inline", "batch_limit": 16, "queue_items": 256, "ageing_ms": 5.0,
            "memory": True, "cache": False,
        },
        OptimizationGoal.MINIMIZE_LATENCY,
        (Constraint("latency_p99_us", most=1000.0),),
    ),
    Preset(
        "batch",
        "Many observations, nobody waiting for a single one: replaying history, labelling, simulation. Large "
        "batches share the fixed cost of a call, threads compute several of them at once, and the queue is "
        "long enough to fill them.",
        {
            "batching": True, "workers": "threads", "concurrency": 2, "batch_limit": 1024,
            "queue_items": 65_536, "queue_mb": 1000.0, "ageing_ms": 1000.0, "memory": True, "cache": False,
        },
        OptimizationGoal.MAXIMIZE_THROUGHPUT,
        (),
    ),
    Preset(
        "low-memory",
        "A place in a small container. Computed in the process itself, because each further process holds "
        "the agent again; a queue of few bytes; no cache; garbage is collected at Python's own pace, so that "
        "it does not lie about until an idle moment comes.",
        {
            "batching": True, "workers": "inline", "batch_limit": 32, "queue_items": 512, "queue_mb": 4.0,
            "memory": False, "cache": False,
        },
        OptimizationGoal.MINIMIZE_MEMORY,
        (Constraint("memory_mb", most=500.0),),
    ),
    Preset(
        "edge",
        "A device with few cores that reads the same sensors again and again. On the event loop's thread, in "
        "small batches, with a small cache of answers, and within little memory.",
        {
            "batching": True, "workers": "inline", "batch_limit": 8, "queue_items": 128, "queue_mb": 2.0,
            "memory": True, "cache": True, "cache_entries": 1_000, "cache_memory_mb": 4.0,
            "cache_policy": "adaptive",
        },
        OptimizationGoal.BALANCED,
        (Constraint("latency_p99_us", most=10_000.0), Constraint("memory_mb", most=250.0)),
    ),
)  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name; raises ConfigError for another word."""
    for known in PRESETS:
        if known.name == name:
            return known
    raise ConfigError(f"there is no preset {name!r}; known: {', '.join(item.name for item in PRESETS)}")
