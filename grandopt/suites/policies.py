"""Eviction policies side by side, on traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grandopt.errors import ConfigError
from grandopt.measurement.streams.traces import read_trace
from grandopt.runtime.cache.policies.adaptive import Adaptive
from grandopt.runtime.cache.policies.base import Policy
from grandopt.runtime.cache.policies.lfu import LFU
from grandopt.runtime.cache.policies.lru import LRU
from grandopt.runtime.cache.policies.replay import replay

POLICIES: dict[str, Callable[[], Policy]] = {"lru": LRU, "lfu": LFU, "adaptive": Adaptive}
"""`lfu` is in-cache LFU without ageing; ties go to the oldest use."""
ENTRIES = (500, 1000)
"""Sizes of the cache for traces that are named without one."""


@dataclass(frozen=True)
class PolicyRow:
    """One trace at one size: its requests, and how many of them each policy found."""

    trace: str
    entries: int
    requests: int
    hits: dict[str, int]


def benchmark_policies(names: Sequence[str]) -> list[PolicyRow]:
    """Replay each trace, named FILE or FILE@ENTRIES, with every policy.

    Raises ConfigError for a size that is none, and InputError for a file that is no trace.
    """
    rows = []
    for path, sizes in map(_parsed, names):
        keys = read_trace(path)
        for entries in sizes:
            hits = {name: replay(make(), keys, entries) for name, make in POLICIES.items()}
            rows.append(PolicyRow(path.name, entries, len(keys), hits))
    return rows


def _parsed(name: str) -> tuple[Path, tuple[int, ...]]:
    file, at, size = name.rpartition("@")
    if not at or Path(name).exists():
        return Path(name), ENTRIES
    if not size.isdecimal() or int(size) < 1:
        raise ConfigError(f"{name}: {size!r} is no number of entries; write FILE@500")
    return Path(file), (int(size),)
