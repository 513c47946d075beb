"""What the serving engine can be set to: the definitions that `ConfigurationManager` begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from grandopt.config.cache import CacheConfig, EvictionPolicy
from grandopt.config.serving import ServingConfig, WorkersKind
from grandopt.config.serving_profiles import serving_config
from grandopt.tuning.configuration.condition import Value, when
from grandopt.tuning.configuration.parameter import boolean, categorical, integer, real
from grandopt.tuning.configuration.rules import Relation
from grandopt.tuning.configuration.space import ConfigurationSpace

_USUAL = serving_config()
_CACHE = CacheConfig()
_BATCH = when("batching", True)
_CACHED = when("cache", True)

SERVING = ConfigurationSpace(
    parameters=(
        boolean(
            "batching", _USUAL.batching,
            description="requests that come together are computed together",
        ),
        integer(
            "batch_limit", 1, 4096, _USUAL.batch_limit, logarithmic=True, unit="rows", active_when=(_BATCH,),
            description="most rows of one batch; a larger one serves more a second, and each waits longer",
        ),
        integer(
            "queue_items", 1, 1_000_000, _USUAL.queue_items, logarithmic=True, unit="observations",
            active_when=(_BATCH,), description="most that wait; beyond it requests are refused at once",
        ),
        real(
            "queue_mb", 0.05, 4000.0, _USUAL.queue_mb, logarithmic=True, unit="MB", active_when=(_BATCH,),
            description="most inputs that wait",
        ),
        real(
            "ageing_ms", 1.0, 10_000.0, _USUAL.ageing_ms, logarithmic=True, unit="ms", active_when=(_BATCH,),
            description="how long a request waits until it may overtake some of a higher class",
        ),
        categorical(
            "workers", get_args(WorkersKind), _USUAL.workers, active_when=(_BATCH,),
            description="where batches are computed; auto chooses by measurement",
        ),
        integer(
            "concurrency", 1, 64, 2, logarithmic=True, unit="workers",
            active_when=(when("workers", "threads", "processes"),),
            description="batches that are computed at once",
        ),
        boolean("memory", _USUAL.memory, description="garbage is collected in idle moments"),
        boolean("cache", False, description="the agent is loaded with a cache of its answers"),
        integer(
            "cache_entries", 16, 10_000_000, _CACHE.entries, logarithmic=True, unit="answers",
            active_when=(_CACHED,), description="most answers that are kept in memory",
        ),
        real(
            "cache_memory_mb", 0.25, 16_000.0, _CACHE.memory_mb, logarithmic=True, unit="MB",
            active_when=(_CACHED,), description="most memory of the answers that are kept",
        ),
        categorical(
            "cache_policy", get_args(EvictionPolicy), _CACHE.policy, active_when=(_CACHED,),
            description="which answers make room for new ones",
        ),
    ),
    rules=(Relation("queue_items", ">=", "batch_limit", "a batch is made of what waits"),),
)  # fmt: skip
"""The default is what the default profile serves with."""


def engine_settings(configuration: Mapping[str, Value]) -> dict[str, Any]:
    """A complete configuration as the fields of ServingConfig that `Engine.load` and `initialize` take."""
    fields = ServingConfig.model_fields
    return {name: value for name, value in configuration.items() if name in fields and name != "cache"}


def cache_settings(configuration: Mapping[str, Value]) -> CacheConfig | None:
    """The cache that a complete configuration asks for, as `Engine.load` takes it; None without one."""
    if not configuration["cache"]:
        return None
    prefix = "cache_"
    given = {name.removeprefix(prefix): value for name, value in configuration.items() if prefix in name}
    return CacheConfig.model_validate(given)
