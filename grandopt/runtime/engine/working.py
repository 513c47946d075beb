"""Where an agent's batches are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grandopt.config.serving import ServingConfig
from grandopt.errors import ConfigError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.calibration import BatchCost, measure_cost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.affinity import Affinity, usable_cores
from grandopt.runtime.scheduling.workers.base import Workers
from grandopt.runtime.scheduling.workers.choice import Choice, by_hand, choose
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.runtime.scheduling.workers.processes import ProcessWorkers
from grandopt.runtime.scheduling.workers.threads import ThreadWorkers


@dataclass(frozen=True)
class Measured:
    """What a version's batches cost, and who should compute them."""

    cost: BatchCost
    choice: Choice


def measured(executor: Executor, config: ServingConfig) -> Measured:
    """Measure an executor on the calling thread, for some hundredths of a second up to half a second."""
    return Measured(measure_cost(executor), choice_for(executor, config))


def settings_of(name: str, config: ServingConfig, cost: BatchCost, row_bytes: int) -> BatchSettings:
    """What an agent's batches go by; raises ConfigError where not one observation could wait."""
    settings = BatchSettings(
        limit=min(config.batch_limit, cost.limit),
        queue_rows=config.queue_items,
        queue_bytes=max(1, int(config.queue_mb * 1e6)),
        ageing_s=config.ageing_ms / 1000,
    )
    if settings.queue_bytes < row_bytes:
        raise ConfigError(
            f"{name}: one observation has {row_bytes} bytes, and queue_mb={config.queue_mb:g} lets "
            f"{settings.queue_bytes} byte(s) wait; give it more"
        )
    return settings


def choice_for(executor: Executor, config: ServingConfig) -> Choice:
    """The workers that `config` asks for, or those that are measured to fit."""
    cores = usable_cores()
    if config.workers != "auto":
        size = 1 if config.workers == "inline" else config.concurrency or cores
        return by_hand(config.workers, size, cores)
    one = [np.zeros((1, *spec.shape), spec.dtype) for spec in executor.signature.inputs]
    return choose(executor, one, cores, processes=executor.remake is not None)


def workers_for(executor: Executor, choice: Choice, config: ServingConfig) -> Workers:
    """The workers of a choice; of threads and processes as many as `config` asks for, if it does."""
    affinity: Affinity = config.cpus if config.cpus else "pin" if config.pinning else "none"
    size = config.concurrency or choice.size
    match choice.kind:
        case "inline":
            return InlineWorker(executor)
        case "threads":
            return ThreadWorkers(executor, size, affinity=affinity)
        case "processes":
            return ProcessWorkers(executor, size, affinity=affinity, rows=config.batch_limit)
