"""What the serving engine can be set to: the definitions that `ConfigurationManager` begins with."""

from __future__ import annotations

from grandopt.tuning.configuration.condition import when
from grandopt.tuning.configuration.parameter import boolean, categorical, integer, real
from grandopt.tuning.configuration.rules import Relation
from grandopt.tuning.configuration.space import ConfigurationSpace

_HOPS = when("workers", "threads", "processes")
_CACHED = when("cache", True)
_COLLECTED = when("collector", True)

SERVING = ConfigurationSpace(
    parameters=(
        integer(
            "batch_limit", 1, 4096, 64, logarithmic=True, unit="rows",
            description="most rows of one batch; a larger one serves more a second, and each waits longer",
        ),
        integer(
            "queue_rows", 1, 1_000_000, 4096, logarithmic=True, unit="rows",
            description="most rows that wait; beyond it requests are refused at once",
        ),
        integer(
            "queue_bytes", 65_536, 1_000_000_000, 64_000_000, logarithmic=True, unit="bytes",
            description="most bytes of inputs that wait",
        ),
        real(
            "ageing_s", 0.001, 10.0, 0.1, logarithmic=True, unit="s",
            description="how long a request waits until it may overtake some of a higher class",
        ),
        categorical(
            "workers", ("inline", "threads", "processes"), "inline",
            description="where agents are computed: on the event loop's thread, in threads, or in processes",
        ),
        integer(
            "concurrency", 1, 64, 2, logarithmic=True, unit="workers", active_when=(_HOPS,),
            description="batches that are computed at once",
        ),
        boolean("cache", False, description="answers to equal observations are kept"),
        integer(
            "cache_entries", 16, 10_000_000, 10_000, logarithmic=True, unit="answers", active_when=(_CACHED,),
            description="most answers that are kept in memory",
        ),
        real(
            "cache_memory_mb", 0.25, 16_000.0, 64.0, logarithmic=True, unit="MB", active_when=(_CACHED,),
            description="most memory of the answers that are kept",
        ),
        categorical(
            "cache_policy", ("adaptive", "lru", "lfu"), "adaptive", active_when=(_CACHED,),
            description="which answers make room for new ones",
        ),
        boolean("collector", True, description="garbage is collected between calls instead of within them"),
        integer(
            "gc_young", 700, 1_000_000, 50_000, logarithmic=True, unit="objects", active_when=(_COLLECTED,),
            description="new objects after which Python collects although no idle moment came",
        ),
        integer(
            "gc_due", 1, 1_000_000, 700, logarithmic=True, unit="objects", active_when=(_COLLECTED,),
            description="new objects for which an idle moment is used",
        ),
    ),
    rules=(
        Relation("queue_rows", ">=", "batch_limit", "a batch is made of rows that wait"),
        Relation("gc_young", ">=", "gc_due", "idle moments come first"),
    ),
)  # fmt: skip
