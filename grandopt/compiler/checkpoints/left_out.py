"""Normalisation statistics that lie in a file beside the weights that were chosen.

Trainers keep them under names of their own: skrl's `state_preprocessor`, rsl_rl's `obs_norm_state_dict`,
`running_mean_std` of rl_games, `obs_rms` of Tianshou. They are found by what they hold: a running mean with a
variance or deviation beside it, or by their name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from grandopt.compiler.checkpoints.base import FoundStatistics

MEAN = re.compile(r"_?(running_|obs_)?mean")
SPREAD = re.compile(r"_?(running_|obs_)?(var|variance|std|mean_sq|m2)")
NAMED = re.compile(r"preprocessor|normali[sz]|obs_?norm|_rms\b|\brms\b|running_mean_std", re.IGNORECASE)
LAYER = frozenset({"weight", "bias", "num_batches_tracked"})
"""What stands beside the statistics of a batch normalisation, which are a layer's own."""

DEEPEST = 16
MOST = 1000
"""Levels and places that are looked at."""

ADVICE = (
    "it lies beside the weights that were chosen; if the agent was trained with it, give a network that "
    "normalises and a state dict that holds both, or normalise before the call"
)


def left_out(content: Any, key: str | None) -> tuple[FoundStatistics, ...]:
    """The statistics in the content of a file that are not within what lies at `key`, the chosen weights."""
    if key is None:
        return ()  # the network took everything there is
    found = []
    for place, count in _places(content, ""):
        if place == key or place.startswith(f"{key}."):
            continue
        kind = "normalisation statistics" + (f", {count} features" if count else "")
        found.append(FoundStatistics(place, kind, used=False, reason=ADVICE))
        if len(found) == MOST:
            break
    return tuple(found)


def _places(content: Any, prefix: str, depth: int = 0) -> Iterator[tuple[str, int]]:
    """Every place with statistics, and how many numbers their mean has."""
    if depth > DEEPEST:
        return
    if isinstance(content, Mapping):
        items = {str(key): value for key, value in list(content.items())[:MOST]}
        if {"state", "param_groups"} <= items.keys():
            return
        for group, names in _groups(items).items():
            if _is_statistics(f"{prefix}{group}".removesuffix("."), names):
                yield f"{prefix}{group}".removesuffix("."), _size(names)
    elif isinstance(content, list | tuple):
        items = {str(index): value for index, value in enumerate(content[:MOST])}
    else:
        items = {} if _number(content) else _attributes(content)
        if items and _is_statistics(prefix.removesuffix("."), items):
            yield prefix.removesuffix("."), _size(items)
        return
    for key, value in items.items():
        if not _number(value):
            yield from _places(value, f"{prefix}{key}.", depth + 1)


def _groups(items: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The numbers of a mapping by what their names share up to the last dot: "a.mean" is "mean" of "a."."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in items.items():
        if _number(value):
            owner, dot, last = key.rpartition(".")
            groups.setdefault(owner + dot, {})[last] = value
    return groups


def _is_statistics(place: str, names: Mapping[str, Any]) -> bool:
    if LAYER & names.keys():
        return False
    mean = any(MEAN.fullmatch(name) for name in names)
    spread = any(SPREAD.fullmatch(name) for name in names)
    return (mean and spread) or ((mean or spread) and bool(NAMED.search(place)))


def _size(names: Mapping[str, Any]) -> int:
    mean = next((value for name, value in names.items() if MEAN.fullmatch(name)), None)
    return 0 if mean is None else int(np.prod(tuple(mean.shape), dtype=np.int64))


def _number(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray | np.generic)


def _attributes(value: Any) -> dict[str, Any]:
    """The arrays that an object of a trusted pickle holds, such as a RunningMeanStd."""
    own = getattr(value, "__dict__", {})
    return {str(name): item for name, item in own.items() if _number(item)} if isinstance(own, dict) else {}
