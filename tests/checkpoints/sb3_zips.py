"""Writes zips as Stable-Baselines3 does: JSON text, `policy.pth`, a version; and VecNormalize pickles."""

from __future__ import annotations

import base64
import io
import itertools
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

Json = dict[str, Any]

ON_POLICY = ("stable_baselines3.common.policies", "ActorCriticPolicy")
OFF_POLICY = {
    "SAC": ("stable_baselines3.sac.policies", "SACPolicy"),
    "TD3": ("stable_baselines3.td3.policies", "TD3Policy"),
    "DQN": ("stable_baselines3.dqn.policies", "DQNPolicy"),
    "ARS": ("sb3_contrib.ars.policies", "ARSPolicy"),
}


class Touch:
    """Unpickling this makes a file: the proof that something was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def space(kind: str, **attributes: Any) -> Json:
    return {":type:": f"<class 'gymnasium.spaces.{kind.lower()}.{kind}'>", **attributes}


def box(low: ArrayLike, high: ArrayLike, shape: tuple[int, ...], dtype: str = "float32") -> Json:
    lows, highs = (np.broadcast_to(np.asarray(bound, dtype), shape) for bound in (low, high))
    return space("Box", dtype=dtype, _shape=list(shape), low=str(lows), high=str(highs))


def discrete(n: int) -> Json:
    return space("Discrete", n=str(n), start="0", _shape=[], dtype="int64")


def multi_discrete(*nvec: int) -> Json:
    return space("MultiDiscrete", nvec=str(np.array(nvec)), start=str(np.zeros(len(nvec), int)))


def multi_binary(n: int) -> Json:
    return space("MultiBinary", n=n, _shape=[n], dtype="int8")


def dictionary(text: str) -> Json:
    return space("Dict", spaces=text, _shape=None, dtype=None)


class Weights:
    """Random weights under SB3's names."""

    def __init__(self, seed: int = 0) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)

    def layer(self, name: str, *shape: int) -> Weights:
        """A weight of `shape` [out, in, …] and its bias."""
        fan_in = float(np.prod(shape[1:]))
        self.tensors[f"{name}.weight"] = torch.randn(shape, generator=self._generator) / fan_in**0.5
        self.tensors[f"{name}.bias"] = torch.randn(shape[0], generator=self._generator) * 0.3
        return self

    def mlp(self, prefix: str, *sizes: int) -> Weights:
        """Linear layers `prefix.0`, `prefix.2`, … of the given widths, the input first."""
        for index, (inner, outer) in enumerate(itertools.pairwise(sizes)):
            self.layer(f"{prefix}.{2 * index}", outer, inner)
        return self

    def nature_cnn(self, prefix: str, channels: int, flat: int, features: int) -> Weights:
        self.layer(f"{prefix}.cnn.0", 32, channels, 8, 8).layer(f"{prefix}.cnn.2", 64, 32, 4, 4)
        return self.layer(f"{prefix}.cnn.4", 64, 64, 3, 3).layer(f"{prefix}.linear.0", features, flat)


def write_zip(
    path: Path,
    policy: tuple[str, str] | None,
    observation: Json,
    action: Json,
    tensors: Mapping[str, torch.Tensor],
    policy_kwargs: Json | None = None,
    *,
    serialized: Any = "nobody may read this",
    **data: Any,
) -> Path:
    """The zip; `serialized` is pickled into every ":serialized:", which no reader may touch."""
    pickled = base64.b64encode(pickle.dumps(serialized)).decode()
    if policy is not None:
        module, name = policy
        data["policy_class"] = {
            ":type:": "<class 'abc.ABCMeta'>",
            ":serialized:": pickled,
            "__module__": module,
            "__init__": f"<function {name}.__init__ at 0x7f0123456789>",
        }
    data["observation_space"] = {**observation, ":serialized:": pickled}
    data["action_space"] = {**action, ":serialized:": pickled}
    data["policy_kwargs"] = {":type:": "<class 'dict'>", ":serialized:": pickled, **(policy_kwargs or {})}
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("policy.pth", buffer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.4.0")
    return path


@contextmanager
def sb3_modules() -> Iterator[tuple[type, type]]:
    """Classes that pickle as SB3's VecNormalize and RunningMeanStd, without SB3."""
    common = "stable_baselines3.common"
    vec_normalize = type("VecNormalize", (), {"__module__": f"{common}.vec_env.vec_normalize"})
    running_mean_std = type("RunningMeanStd", (), {"__module__": f"{common}.running_mean_std"})
    packages = ("stable_baselines3", common, f"{common}.vec_env")
    modules = {name: types.ModuleType(name) for name in packages}
    for kind in (vec_normalize, running_mean_std):
        modules[kind.__module__] = types.ModuleType(kind.__module__)
        setattr(modules[kind.__module__], kind.__name__, kind)
    sys.modules.update(modules)
    try:
        yield vec_normalize, running_mean_std
    finally:
        for name in modules:
            del sys.modules[name]


def write_statistics(path: Path, moments: Any, *, protocol: int = 4, **attributes: Any) -> Path:
    """A VecNormalize pickle; `moments` is (mean, var) or a mapping of them by key."""
    with sb3_modules() as (vec_normalize, running_mean_std):

        def running(pair: tuple[ArrayLike, ArrayLike]) -> Any:
            made = running_mean_std()
            made.mean, made.var = (np.asarray(value, np.float64) for value in pair)
            made.count = 1e4
            return made

        wrapper: Any = vec_normalize()
        many = isinstance(moments, Mapping)
        wrapper.obs_rms = {key: running(v) for key, v in moments.items()} if many else running(moments)
        wrapper.norm_obs, wrapper.clip_obs, wrapper.epsilon = True, 10.0, 1e-8
        wrapper.observation_space = np.random.RandomState(0)  # as spaces hold one
        wrapper.gamma = np.float64(0.99)
        for name, value in attributes.items():
            setattr(wrapper, name, value)
        path.write_bytes(pickle.dumps(wrapper, protocol=protocol))
    return path
