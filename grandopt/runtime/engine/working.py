"""Where an agent's batches are computed."""

from __future__ import annotations

import os

from grandopt.config.serving import ServingConfig
from grandopt.errors import ConfigError
from grandopt.runtime.engine.version import Version
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.workers.base import Workers
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers

HOP_NS = 50_000
"""A call that takes less is done before another thread has begun it."""


def workers_for(version: Version, cost: BatchCost, config: ServingConfig) -> Workers:
    """Those that `config` asks for, or those that fit what a call costs."""
    match config.workers:
        case "auto":
            kind = "inline" if cost.single_ns < HOP_NS else "threads"
        case asked:
            kind = asked
    if kind == "inline":
        return InlineWorker(version.executor)
    if kind == "threads":
        return ThreadWorkers(version.executor, config.concurrency or len(os.sched_getaffinity(0)))
    raise ConfigError(f"workers {kind!r} are not there; choose inline or threads")
