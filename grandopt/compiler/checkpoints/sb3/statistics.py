"""The observation statistics of a VecNormalize pickle, read without running anything in it.

The unpickler here finds no real class but `set` and `OrderedDict`: arrays, numbers, random generators,
spaces and SB3's own objects become inert stand-ins that only keep what they are given, and arrays are made
from their bytes afterwards.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np

from grandopt import limits
from grandopt.compiler.checkpoints.vetting import arrays
from grandopt.compiler.checkpoints.vetting.pickle_scan import scan
from grandopt.errors import CheckpointError, UntrustedError, first_line
from grandopt.signature import Array, Moments

VEC_NORMALIZE = ("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize")
RUNNING_MEAN_STD = ("stable_baselines3.common.running_mean_std", "RunningMeanStd")
KEPT_MODULES = ("gym.spaces.", "gymnasium.spaces.", "numpy.random.")
"""Whatever a pickle names below these becomes an empty stand-in: no statistic depends on it."""

DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
    MemoryError, RecursionError, NotImplementedError, ImportError,
)  # fmt: skip
"""What unpickling is seen to raise on damaged bytes."""


@dataclass(frozen=True)
class Statistics:
    """Running mean and variance of one observation, float64 [*shape] each."""

    mean: Array
    var: Array


@dataclass(frozen=True)
class Normalisation:
    """What VecNormalize does to observations: `clip((raw - mean) / sqrt(var + epsilon), -clip, clip)`.

    `by_key` holds the statistics of each normalised key of a Dict observation, or of the one observation
    under None. Keys that are not in it pass unchanged.
    """

    by_key: Mapping[str | None, Statistics]
    epsilon: float
    clip: float

    def moments(self, single: str) -> dict[str, Moments]:
        """What the agent's inputs are distributed like; `single` names the input of the one observation."""
        found = {}
        for key, held in self.by_key.items():
            std = np.maximum(np.sqrt(held.var + self.epsilon), np.finfo(np.float32).tiny)
            mean, spread = (tuple(float(value) for value in part.ravel()) for part in (held.mean, std))
            found[single if key is None else key] = Moments(mean, spread, self.clip)
        return found


def read(path: Path) -> Normalisation | None:
    """The normalisation in a pickle of VecNormalize; None if it does not normalise observations.

    Raises UntrustedError naming the first global that is none of those such a pickle consists of, and
    CheckpointError for a missing or damaged file or statistics that make no sense.
    """
    try:
        data = limits.content(path, limits.STATISTICS_BYTES)
    except OSError as error:
        raise CheckpointError(f"{limits.shortened(path)}: cannot be read: {error.strerror}") from error
    greedy = scan(data).greedy
    if greedy is not None:
        raise CheckpointError(f"{path}: the pickle in it {greedy}; it is not read")
    try:
        root = _Unpickler(data, path).load()
    except CheckpointError:
        raise
    except DAMAGED as error:
        raise CheckpointError(f"{path}: is a damaged VecNormalize pickle: {first_line(error)}") from error
    if not isinstance(root, _Kept) or root.name != VEC_NORMALIZE[1]:
        raise CheckpointError(f"{path}: holds no VecNormalize object")
    return _normalisation(root.state, path)


def _normalisation(state: Mapping[str, Any], path: Path) -> Normalisation | None:
    moments = state.get("obs_rms")
    if not state.get("norm_obs", True) or moments is None:
        return None
    by_key: dict[str | None, Statistics] = {}
    if isinstance(moments, Mapping):
        wanted = state.get("norm_obs_keys")
        for key in moments if wanted is None else wanted:
            by_key[str(key)] = _statistics(moments.get(key), f"{path}: obs_rms[{key!r}]")
    else:
        by_key[None] = _statistics(moments, f"{path}: obs_rms")
    epsilon = _number(state.get("epsilon"), f"{path}: epsilon")
    clip = _number(state.get("clip_obs"), f"{path}: clip_obs")
    if epsilon < 0 or clip <= 0:
        raise CheckpointError(f"{path}: epsilon {epsilon} and clip_obs {clip} must be positive")
    return Normalisation(by_key, epsilon, clip)


def _statistics(moments: Any, where: str) -> Statistics:
    state = moments.state if isinstance(moments, _Kept) else {}
    mean, var = (_array(state.get(name), f"{where}.{name}") for name in ("mean", "var"))
    if (
        mean.shape != var.shape
        or not np.isfinite(mean).all()
        or not np.isfinite(var).all()
        or (var < 0).any()
    ):
        raise CheckpointError(f"{where}: mean {list(mean.shape)} and var {list(var.shape)} are no statistics")
    return Statistics(mean, var)


def _array(value: Any, where: str) -> Array:
    if isinstance(value, arrays.ArrayStandIn):
        return value.array(where).astype(np.float64)
    raise CheckpointError(f"{where}: is no array of numbers")


def _number(value: Any, where: str) -> float:
    if isinstance(value, arrays.ArrayStandIn):
        value = value.array(where).item()
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"{where}: is no number (got {shown(value)})")
    return float(value)


class _Unpickler(pickle.Unpickler):
    """Each global becomes a fresh class, so that nothing a pickle sets on it outlives the reading."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        array = arrays.fresh(module, name)
        if array is not None:
            return array
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case (("builtins" | "__builtin__"), "set"):
                return set
        known = (module, name) in (VEC_NORMALIZE, RUNNING_MEAN_STD)
        if known or f"{module}.".startswith(KEPT_MODULES):
            return type(name, (_Kept,), {"name": name})
        raise UntrustedError(
            f"{self._path}: names {module}.{name}, which no VecNormalize pickle needs; it was not run, and "
            f"nothing was read"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError(f"{self._path}: refers to {shown(pid)} outside the pickle")


class _Kept:
    """A stand-in that keeps the state it is given, as `state`, and does nothing."""

    name = ""
    state: dict[str, Any]

    def __new__(cls, *arguments: Any) -> _Kept:
        kept = super().__new__(cls)
        kept.state = {}  # here and not in __init__, which unpickling does not always call
        return kept

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.state.update(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Old Dict spaces are mappings of their own, whose items a pickle sets one by one."""
