"""Statistics of several workers as those of one server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
_LATEST = "last_inference"


def added(several: Iterable[Json]) -> Json:
    """`{"model_stats": …}` of all together: counts and times add up, the last inference is the latest."""
    found: dict[tuple[str, str], Json] = {}
    for one in several:
        for stats in one["model_stats"]:
            key = stats["name"], stats["version"]
            found[key] = _sum(found[key], stats) if key in found else stats
    return {"model_stats": list(found.values())}


def _sum(one: Json, other: Json) -> Json:
    return {name: _added(name, value, other.get(name, value)) for name, value in one.items()}


def _added(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return _sum(one, other)
    if isinstance(one, list):
        return _batches(one, other) if name == "batch_stats" else [*one, *other]
    if isinstance(one, bool | str):
        return one
    return max(one, other) if name == _LATEST else one + other


def _batches(one: list[Json], other: list[Json]) -> list[Json]:
    """By size of batch, which does not add up."""
    found = {stats["batch_size"]: stats for stats in one}
    for stats in other:
        size = stats["batch_size"]
        found[size] = _sum(found[size], stats) | {"batch_size": size} if size in found else stats
    return [found[size] for size in sorted(found)]
