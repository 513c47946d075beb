"""The agent in a zip of Stable-Baselines3 or sb3-contrib: its policy, from raw observation to action.

What comes out computes what SB3's `model.predict(observation, deterministic=True)` does, for observations
in the layout of the space that the zip holds. For images that is channels first, uint8 [C, H, W]: SB3
transposes the images of its environments before it trains on them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.sb3 import (
    actions,
    beside,
    layers,
    masked,
    observations,
    policies,
    recurrent,
    spaces,
    statistics,
)
from grandopt.compiler.checkpoints.sb3.archive import Sb3Archive, open_archive
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn, refuse
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, named_line
from grandopt.signature import Contract, Role, TensorSpec

FORMAT = "sb3"
SINGLE = "observation"
"""Name of the input of an agent whose observation is one tensor."""

NOT_NORMALISED = "it does not normalise observations (norm_obs is false)"
EXTRACTORS = ("FlattenExtractor", "NatureCNN", "CombinedExtractor")
TORCH_LAYERS = "stable_baselines3.common.torch_layers"


@dataclass(frozen=True)
class _Parts:
    """An agent taken apart: one list of steps per input, then those of all inputs together."""

    inputs: tuple[TensorSpec, ...]
    encoders: tuple[tuple[nn.Module, ...], ...]
    policy: policies.Sb3Policy
    head: tuple[nn.Module, ...]
    contract: Contract


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The deterministic policy of the zip, with the observation statistics folded in where there are any.

    `agent.vecnormalize` is "auto" (the file beside the zip that is surely its own, see `beside`), "none", or
    the path of a VecNormalize pickle. The output is `action`: int64 [B] for Discrete,
    int64 [B, k] for MultiDiscrete, int64 [B, *shape] for MultiBinary, float32 [B, *shape] for Box. A Dict
    observation becomes one input per key, in the order of the space. A recurrent policy also takes
    `episode_start`, `h` and `c`, and gives `h_next` and `c_next` (see `recurrent`); one with masks takes
    `action_masks`, too (see `masked`).

    Raises CheckpointError for a damaged zip, policies that are not SB3's own, weights with NaN or inf,
    statistics that do not fit or may be another agent's, and settings that do not apply; UntrustedError for
    pickles that could run code.
    """
    path = files.checkpoint_path(agent)
    fields = ("key", "network", "network_args", "inputs", "outputs", "state", "stepwise")
    refuse(agent, path, "an SB3 zip", fields, "which brings its own network and spaces")
    archive = open_archive(path)
    found = beside.choose(agent, path)
    normalisation = None if found.chosen is None else statistics.read(found.chosen)
    parts = _parts(archive, normalisation, found.chosen)
    module = weights.ready(_assembled(parts, scores=False))
    decides = parts.contract.action in ("argmax", "binary")
    scores = weights.ready(_assembled(parts, scores=True)) if decides else None
    _trial(module, parts.inputs, path)
    value: Role = "value"
    return Checkpoint(
        name=name,
        module=module,
        inputs=parts.inputs,
        source=weights.source(path, FORMAT, **_details(archive, parts, normalisation, found.chosen)),
        contract=parts.contract,
        output_names=("action", *(tensor.output for tensor in parts.contract.state)),
        output_roles=("action", *(value for _ in parts.contract.state)),
        scores=scores,
        statistics=found.found(None if normalisation is not None else NOT_NORMALISED),
        moments={} if normalisation is None else normalisation.moments(SINGLE),
    )


def describe(path: Path) -> dict[str, Any]:
    """Algorithm, spaces, layers, activation, SB3's version, and the tensors of `policy.pth`."""
    archive = open_archive(path)
    parts = _parts(archive, None, None)
    return {
        "format": FORMAT,
        **_details(archive, parts, None, None),
        "statistics": [asdict(item) for item in beside.listed(path)],
        **weights.listed(archive.tensors),
    }


def _parts(archive: Sb3Archive, normalisation: statistics.Normalisation | None, file: Path | None) -> _Parts:
    where = str(archive.path)
    observed = spaces.parse(archive.data.get("observation_space"), f"{where}: observation_space")
    acted = spaces.parse(archive.data.get("action_space"), f"{where}: action_space")
    if policies.family_of(archive) == "masked":
        acted = masked.chosen_from(acted, where)
    policy = policies.read(archive, actions.width(acted, where), continuous=isinstance(acted, spaces.Box))
    head, contract = actions.head(acted, squashed=policy.squashed, where=where)
    if normalisation is not None:
        contract = replace(contract, normalised=True, clip_obs=normalisation.clip)
    _require_known_extractor(archive)
    named: dict[str | None, spaces.Simple]
    named = {None: observed} if not isinstance(observed, spaces.Dict) else dict(observed.spaces.items())
    _require_same_keys(named, normalisation, file)
    options = observations.EncoderOptions(
        where=str(file),
        scale_images=archive.policy_argument("normalize_images") is not False,
        epsilon=0.0 if normalisation is None else normalisation.epsilon,
        clip=float("inf") if normalisation is None else normalisation.clip,
    )
    inputs, encoders = [], []
    for key, space in named.items():
        moments = None if normalisation is None else normalisation.by_key.get(key)
        label = SINGLE if key is None else key
        inputs.append(observations.spec(label, space, normalised=moments is not None))
        steps = observations.encoder(space, moments, options)
        prefix = policy.extractor if key is None else f"{policy.extractor}.extractors.{key}"
        encoders.append((*steps, *_extractor(archive, prefix, space)))
    if policy.memory is not None:
        inputs += recurrent.inputs(policy.memory)
        contract = recurrent.with_memory(contract)
    if policy.masked:
        inputs.append(masked.spec(sum(contract.groups)))
    return _Parts(tuple(inputs), tuple(encoders), policy, tuple(head), contract)


def _extractor(archive: Sb3Archive, prefix: str, space: spaces.Simple) -> list[nn.Module]:
    """SB3's features extractor of one observation: the Nature CNN where it has weights, else flattening."""
    if any(key.startswith(f"{prefix}.") for key in archive.tensors):
        shape = space.shape if isinstance(space, spaces.Box) else ()
        return layers.nature_cnn(archive.tensors, prefix, shape, f"{archive.path} (policy.pth)")
    flat = not isinstance(space, spaces.Box | spaces.MultiBinary) or len(space.shape) == 1
    return [] if flat else [nn.Flatten()]


def _require_known_extractor(archive: Sb3Archive) -> None:
    given = archive.class_argument("features_extractor_class")
    if given is not None and given not in {f"{TORCH_LAYERS}.{name}" for name in EXTRACTORS}:
        raise CheckpointError(
            f"{archive.path}: the features extractor is {given}, none of SB3's own, so that what it computes "
            f"is not in the zip's text; export the policy with torch.export instead"
        )


def _require_same_keys(
    named: dict[str | None, spaces.Simple],
    normalisation: statistics.Normalisation | None,
    file: Path | None,
) -> None:
    strange = [] if normalisation is None else [key for key in normalisation.by_key if key not in named]
    if strange:
        found = "one observation" if strange[0] is None else f"key {strange[0]!r}"
        own = ", ".join(SINGLE if key is None else key for key in named)
        raise CheckpointError(
            f"{file}: holds statistics of {found}, which this agent does not observe (it takes {own}); "
            f"give its own file, or set 'vecnormalize: none'"
        )


def _assembled(parts: _Parts, *, scores: bool) -> nn.Module:
    """One module over the inputs, to the action or to the `scores` that it is taken from.

    A Sequential for one input, a graph that joins the features for several, or what a recurrent layer or a
    mask stands in the middle of.
    """
    network, head = parts.policy.network, () if scores else parts.head
    steps = (*network, *head)
    if parts.policy.masked:
        encoders = [_sequence(encoder) for encoder in parts.encoders]
        mask = masked.Lowering() if scores else masked.Forbidding()
        return masked.MaskedPolicy(encoders, _sequence(network), mask, _sequence(head))
    if parts.policy.memory is not None:
        encoders = [_sequence(encoder) for encoder in parts.encoders]
        return recurrent.RecurrentPolicy(encoders, parts.policy.memory, _sequence(steps))
    if len(parts.inputs) == 1:
        return _sequence((*parts.encoders[0], *steps))
    root = nn.Module()
    graph = fx.Graph()
    observed = [graph.placeholder(f"observation_{index}") for index in range(len(parts.inputs))]
    encoded = []
    for index, (value, encoder) in enumerate(zip(observed, parts.encoders, strict=True)):
        if encoder:
            root.add_module(f"encoder_{index}", _sequence(encoder))
            value = graph.call_module(f"encoder_{index}", (value,))
        encoded.append(value)
    root.add_module("policy", _sequence(steps))
    joined = graph.call_function(torch.cat, (encoded,), {"dim": 1})
    graph.output(graph.call_module("policy", (joined,)))
    return fx.GraphModule(root, graph, class_name="DictPolicy")


def _sequence(steps: tuple[nn.Module, ...]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"{i}_{type(step).__name__}", step) for i, step in enumerate(steps)))


def _trial(module: nn.Module, inputs: tuple[TensorSpec, ...], path: Path) -> None:
    try:
        with torch.no_grad():
            module(*drawn(inputs, EXAMPLE_BATCH, seed=0))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the layers do not fit the observation space: {named_line(error)}"
        ) from error


def _details(
    archive: Sb3Archive,
    parts: _Parts,
    normalisation: statistics.Normalisation | None,
    file: Path | None,
) -> dict[str, Any]:
    """What a report says about the agent, JSON-able."""
    memory = () if parts.policy.memory is None else (parts.policy.memory,)
    details: dict[str, Any] = {
        "algorithm": parts.policy.algorithm,
        "sb3_version": archive.version,
        "policy_class": f"{archive.policy_module}.{archive.policy_class}".strip("."),
        "observations": [asdict(spec) for spec in parts.inputs],
        "action": asdict(parts.contract),
        "encoders": [[str(step) for step in encoder] for encoder in parts.encoders],
        "layers": [str(step) for step in (*memory, *parts.policy.network, *parts.head)],
    }
    if file is not None:
        details["vecnormalize"] = {
            "path": str(file),
            "sha256": files.sha256(file),
            "normalises_observations": normalisation is not None,
        }
    return details
