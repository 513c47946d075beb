"""d3rlpy's checkpoints (`.d3`), version 2: networks and settings in one file, which says everything.

`predict` scales the observation, takes the greedy action of the algorithm, and scales that back. Algorithms
that draw actions and take the best of them (BCQ, BEAR, CRR) have no deterministic action and are refused by
name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from grandopt import limits
from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.frameworks import heads, layers, normaliser
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.d3rlpy import encoders
from grandopt.compiler.checkpoints.frameworks.distributional import MeanOfNetworks, MeanQuantile
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.sb3.actions import ArgMax
from grandopt.compiler.checkpoints.sb3.observations import ToFloat
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, Moments, TensorSpec

NAME = "d3rlpy"
TITLE = "d3rlpy"
TAKES: frozenset[str] = frozenset()

Kind = Literal["actor", "imitator", "choosing imitator", "choosing actor", "q"]
KINDS: Mapping[str, Kind] = {
    "ddpg": "actor", "td3": "actor", "td3_plus_bc": "actor", "rebrac": "actor", "prdc": "actor",
    "sac": "actor", "awac": "actor", "cql": "actor", "cal_ql": "actor", "iql": "actor", "bc": "imitator",
    "discrete_bc": "choosing imitator", "discrete_sac": "choosing actor", "dqn": "q", "double_dqn": "q",
    "nfq": "q", "discrete_cql": "q",
}  # fmt: skip
"""By the algorithm's name in the settings: which network decides, and how."""

SAMPLING = frozenset({"bcq", "bear", "crr", "random_policy", "discrete_random_policy"})
INSTEAD = "export the policy with algo.save_policy('policy.onnx')"


@dataclass(frozen=True)
class _Found:
    """What a `.d3` holds: state dicts by network, the algorithm, and its settings."""

    states: Mapping[str, Any]
    algorithm: str
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    actions: int
    version: str

    @property
    def image(self) -> bool:
        return len(self.shape) == 3


def recognises(content: Any) -> bool:
    """Whether it is the content of a `.d3` (see `file`)."""
    if not isinstance(content, Mapping) or content.keys() != {"torch", "config", "version"}:
        return False
    return isinstance(content["torch"], Mapping) and isinstance(content["config"], Mapping)


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The algorithm, the layers and the scalers; nothing is asked for."""
    found = _found(content, path)
    kind = _kind(found, path)
    state, _ = _deciding(found, kind, path)
    return {
        "recognised": f"{found.algorithm} of {TITLE} {found.version}",
        "layers": [str(layer) for layer in _network(found, kind, path)],
        "observation_scaler": _scaler(found, "observation_scaler", path)[0],
        "action_scaler": _scaler(found, "action_scaler", path)[0],
        "asks": [],
        **weights.listed(state),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """What `algo.predict` gives.

    Raises CheckpointError for an algorithm without a deterministic action, for encoders and scalers that are
    not d3rlpy's own, and for weights that do not fit the settings.
    """
    found = _found(content, path)
    kind = _kind(found, path)
    network = _network(found, kind, path)
    scaling, moments, used = _observation_steps(found, path)
    byte = scaling[:1] != [] and isinstance(scaling[0], ToFloat)
    observed = (
        TensorSpec(OBSERVATION, found.shape, "uint8", 0.0, 255.0)
        if byte
        else TensorSpec(OBSERVATION, found.shape)
    )
    details = {"algorithm": found.algorithm, "d3rlpy_version": found.version}
    if kind in ("actor", "imitator"):
        steps, low, high = _action_steps(found, path)
        module = nn.Sequential(*scaling, *network, nn.Tanh(), *steps)
        contract = Contract("continuous", low=low, high=high, normalised=moments is not None, squashed=True)
        scores = None
    else:
        module = nn.Sequential(*scaling, *network, ArgMax())
        scores = nn.Sequential(*scaling, *network)
        contract = Contract("argmax", groups=(found.actions,), normalised=moments is not None)
    policy = Policy(
        module,
        (observed,),
        contract,
        details,
        scores=scores,
        moments={} if moments is None else {OBSERVATION: moments},
        statistics=() if used is None else (FoundStatistics("config", used, used=True),),
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


def _found(content: Any, path: Path) -> _Found:
    config = content["config"]
    algorithm = config.get("config")
    name = algorithm.get("type") if isinstance(algorithm, Mapping) else None
    settings = algorithm.get("params") if isinstance(algorithm, Mapping) else None
    shape, actions = config.get("observation_shape"), config.get("action_size")
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise CheckpointError(f"{path}: its settings name no algorithm")
    plain = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    if not plain or len(shape) not in (1, 3):
        raise CheckpointError(f"{path}: observes {shape!r:.60}; one row of numbers, or one image, is read")
    if math.prod(shape) > limits.INPUT_ELEMENTS:
        raise CheckpointError(
            f"{path}: observes {math.prod(shape):,} numbers; at most {limits.INPUT_ELEMENTS:,}"
        )
    if type(actions) is not int or not 0 < actions <= limits.CHOICES:
        raise CheckpointError(f"{path}: has {actions!r:.60} actions; at most {limits.CHOICES:,} are read")
    return _Found(content["torch"], name, settings, tuple(shape), actions, str(content["version"])[:20])


def _kind(found: _Found, path: Path) -> Kind:
    kind = KINDS.get(found.algorithm)
    if kind is None:
        why = "draws its actions" if found.algorithm in SAMPLING else "is not read"
        raise CheckpointError(f"{path}: the algorithm {found.algorithm!r:.60} of {TITLE} {why}; {INSTEAD}")
    return kind


def _deciding(found: _Found, kind: Kind, path: Path) -> tuple[Tensors, str]:
    """The tensors of the network that decides, and which setting has its encoder."""
    key, factory = {
        "actor": ("policy", "actor_encoder_factory"),
        "choosing actor": ("policy", "actor_encoder_factory"),
        "imitator": ("imitator", "encoder_factory"),
        "choosing imitator": ("imitator", "encoder_factory"),
        "q": ("q_funcs", "encoder_factory"),
    }[kind]
    tensors = layers.tensors_of(found.states, key)
    if not tensors:
        raise CheckpointError(f"{path}: holds no weights of '{key}', which {found.algorithm} decides with")
    return tensors, factory


def _network(found: _Found, kind: Kind, path: Path) -> list[nn.Module]:
    """The layers from the scaled observation to what the action is made of."""
    tensors, factory = _deciding(found, kind, path)
    where = f"{path} ({found.algorithm})"
    settings = found.settings.get(factory)
    if kind == "q":
        return _q_values(found, tensors, settings, where)
    encoder = encoders.encoder(tensors, "_encoder", settings, found.image, where)
    last = "_mu" if "_mu.weight" in tensors else "_fc"
    return [*encoder, _last(tensors, last, found.actions, where)]


def _q_values(found: _Found, tensors: Tensors, settings: Any, where: str) -> list[nn.Module]:
    """The mean of the Q functions, each of which may give quantiles."""
    factory = found.settings.get("q_func_factory")
    kind = factory.get("type") if isinstance(factory, Mapping) else None
    if kind not in ("mean", "qr"):
        raise CheckpointError(f"{where}: Q functions of the kind {kind!r:.60} are not read; {INSTEAD}")
    networks: list[nn.Module] = []
    while layers.below(tensors, str(len(networks))):
        own = layers.below(tensors, str(len(networks)))
        encoder = encoders.encoder(own, "_encoder", settings, found.image, where)
        last = layers.linear(own, "_fc", where)
        each, odd = divmod(last.out_features, found.actions)
        if odd or (kind == "mean" and each != 1):
            raise CheckpointError(
                f"{where}: the last layer gives {last.out_features} numbers for {found.actions} actions"
            )
        networks.append(nn.Sequential(*encoder, last, *([MeanQuantile(each)] if kind == "qr" else [])))
    if not networks:
        raise CheckpointError(f"{where}: holds no Q function")
    return [*networks[0].children()] if len(networks) == 1 else [MeanOfNetworks(networks)]


def _last(tensors: Tensors, name: str, actions: int, where: str) -> nn.Linear:
    layer = layers.linear(tensors, name, where)
    if layer.out_features != actions:
        raise CheckpointError(
            f"{where}: the last layer gives {layer.out_features} numbers for {actions} actions"
        )
    return layer


def _scaler(found: _Found, setting: str, path: Path) -> tuple[str, Mapping[str, Any]]:
    """Kind and parameters of a scaler; the kind is "none" for none."""
    given = found.settings.get(setting)
    if given is None:
        return "none", {}
    kind = given.get("type") if isinstance(given, Mapping) else None
    params = given.get("params") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or not isinstance(params, Mapping):
        raise CheckpointError(f"{path}: its settings do not say of what kind {setting} is")
    return kind, params


def _observation_steps(found: _Found, path: Path) -> tuple[list[nn.Module], Moments | None, str | None]:
    """What scales the observation, what that says of observations, and the kind of the statistics in it."""
    kind, params = _scaler(found, "observation_scaler", path)
    where = f"{path}: observation_scaler"
    match kind:
        case "none":
            return [], None, None
        case "pixel":
            return [ToFloat(255.0)], None, None
        case "standard":
            epsilon = params.get("eps", 1e-3)
            if not isinstance(epsilon, float | int) or not 0 <= epsilon < math.inf:
                raise CheckpointError(f"{where}: eps is {epsilon!r:.60}")
            mean, std = (_row(params.get(name), found.shape, f"{where}: {name}") for name in ("mean", "std"))
            step = normaliser.beside_deviation(mean, std, float(epsilon), where)
            return [step], step.moments(), "StandardObservationScaler"
        case "min_max":
            low, high = (
                _row(params.get(name), found.shape, f"{where}: {name}") for name in ("minimum", "maximum")
            )
            step = normaliser.beside_deviation((low + high) / 2, (high - low) / 2, 0.0, where)
            return [step], step.moments(), "MinMaxObservationScaler"
    raise CheckpointError(f"{where}: scalers of the kind {kind!r:.60} are not read; {INSTEAD}")


def _action_steps(found: _Found, path: Path) -> tuple[list[nn.Module], tuple[float, ...], tuple[float, ...]]:
    """What scales the action back from -1 … 1, and its bounds."""
    kind, params = _scaler(found, "action_scaler", path)
    where = f"{path}: action_scaler"
    if kind == "none":
        return [], (-1.0,) * found.actions, (1.0,) * found.actions
    if kind != "min_max":
        raise CheckpointError(f"{where}: scalers of the kind {kind!r:.60} are not read; {INSTEAD}")
    rows = (_row(params.get(name), (found.actions,), f"{where}: {name}") for name in ("minimum", "maximum"))
    low, high = (tuple(row.double().tolist()) for row in rows)
    return heads.rescaled(low, high), low, high


def _row(value: Any, shape: tuple[int, ...], where: str) -> torch.Tensor:
    """Numbers of the settings as float32 of `shape`."""
    try:
        row = torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{where} is no row of numbers") from error
    if tuple(row.shape) != shape or not bool(torch.isfinite(row).all()):
        raise CheckpointError(f"{where} holds {list(row.shape)} numbers, or NaN, where {list(shape)} belong")
    return row
