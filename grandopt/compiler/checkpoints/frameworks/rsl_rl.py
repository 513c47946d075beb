"""RSL-RL's checkpoints (`model_*.pt`), versions 1 to 5: the actor as `get_inference_policy` runs it.

A file holds the state dicts of everything that is trained. Up to version 3 that is one ActorCritic with the
layers `actor.0`, `actor.2`, …, a spread `std` or `log_std`, and memory in `memory_a.rnn`; version 2 keeps the
normaliser beside it, version 3 inside. From version 4 on the actor is a model of its own: `mlp`, `rnn.rnn`,
`obs_normalizer`, `distribution`. Activations are in `params/agent.yaml` of the run, if it was Isaac Lab's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.frameworks import asked, heads, layers, normaliser, rsl_rl_cnn
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings, beside
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.config.schema import AgentConfig, Distribution
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "rsl_rl"
TITLE = "RSL-RL"
TAKES = frozenset({"activation", "bounds", "distribution", "inputs"})

ACTIVATION = (("actor", "activation"), ("policy", "activation"))
"""Where the settings of a run have it, from version 4 on and before."""

OWN_ACTIVATIONS = {"crelu": "celu", "lrelu": "leaky_relu"}
"""What RSL-RL calls otherwise (`resolve_nn_activation`)."""

EPSILON = 1e-2
"""Of `EmpiricalNormalization`, added to the deviation."""

OF_ACTOR_CRITIC = {
    *("std", "log_std", "actor", "critic", "memory_a", "memory_c"),
    *("actor_obs_normalizer", "critic_obs_normalizer", "actor_cnns", "critic_cnns"),
}
OF_MODEL = {"mlp", "rnn", "cnns", "obs_normalizer", "distribution"}
"""What the names of tensors begin with, up to version 3 and from 4 on; those of a fork have others, too."""


@dataclass(frozen=True)
class _Actor:
    """The actor in a file: its tensors, and the names that its parts begin with.

    `statistics` are those of observations, which are at `place`; empty for an actor that does not normalise.
    `spread` says whether the standard deviation is a parameter: the last layer then gives means alone.
    """

    versions: str
    tensors: Tensors
    mlp: str
    memory: str
    cnns: str
    statistics: Tensors
    place: str
    spread: bool

    def stack(self, between: type[nn.Module], where: str) -> list[nn.Module]:
        """Its linear layers with `between` between them."""
        return layers.stack(self.tensors, self.mlp, between, where)


def recognises(content: Any) -> bool:
    """Whether it is what `OnPolicyRunner.save` writes, with networks that RSL-RL itself brings."""
    return _actor(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The actor's layers, its normaliser, and what has to be given (see `Framework`)."""
    actor, settings = _found(content, path), beside(path)
    outputs = layers.outputs(actor.stack(nn.Identity, str(path)))
    asks = asked.missing(settings, *ACTIVATION)
    groups = list(dict.fromkeys(name.partition(".")[0] for name in layers.below(actor.tensors, actor.cnns)))
    asks += [f"--input {group}=CxHxW: the size of these images" for group in groups]
    if groups and not rsl_rl_cnn.has_settings(settings):
        asks.append(rsl_rl_cnn.ASKED)
    if _may_hold_spreads(actor, outputs) and _distribution_of(settings) is None:
        asks.append(asked.DISTRIBUTION)
    return {
        "recognised": f"the actor as {TITLE} {actor.versions} saves it",
        "layers": [str(layer) for layer in _parts(actor, nn.Identity, str(path))],
        "normaliser": f"(x - mean) / (std + {EPSILON}) of {actor.place}" if actor.statistics else None,
        "asks": asks,
        **settings.details(),
        **weights.listed(actor.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The actor's mean action, from raw observations on; with memory also h (and c) in and out.

    Raises CheckpointError where neither the file, nor the settings of the run, nor `agent` say the activation
    or, if the last layer may be read in several ways, the distribution; and for weights that do not fit.
    """
    actor, settings, where = _found(content, path), beside(path), str(path)
    said, between = asked.activation(agent, path, settings, *ACTIVATION, own=OWN_ACTIVATIONS)
    stack = actor.stack(between, where)
    head, contract, distribution = _head(actor, layers.outputs(stack), agent, settings, path)
    normalise = _normaliser(actor, where)
    module, inputs, contract = _assembled(actor, agent, settings, path, (normalise, stack, head), contract)
    details = {
        "versions": actor.versions,
        "activation": said,
        "distribution": distribution,
        **settings.details(),
    }
    found = FoundStatistics(actor.place, "EmpiricalNormalization", used=True)
    moments = {OBSERVATION: normalise[0].moments()} if normalise else {}
    statistics = (found,) if normalise else ()
    policy = Policy(module, inputs, contract, details, moments=moments, statistics=statistics)
    return checkpoint(name, (NAME, TITLE), path, policy)


def _assembled(
    actor: _Actor,
    agent: AgentConfig,
    settings: RunSettings,
    path: Path,
    parts: tuple[Sequence[nn.Module], Sequence[nn.Module], Sequence[nn.Module]],
    contract: Contract,
) -> tuple[nn.Module, tuple[TensorSpec, ...], Contract]:
    """The module of normaliser, stack and head with what is between the first two, inputs, and contract."""
    normalise, stack, head = nn.Sequential(*parts[0]), parts[1], nn.Sequential(*parts[1], *parts[2])
    if layers.below(actor.tensors, actor.cnns):
        seen = rsl_rl_cnn.encoders(agent, path, actor.tensors, actor.cnns, settings)
        observed = layers.inputs(stack) - seen.features
        plain = (TensorSpec(OBSERVATION, (observed,)),) if observed > 0 else ()
        return rsl_rl_cnn.SeeingActor(normalise, seen.modules, head), (*plain, *seen.inputs), contract
    refuse(agent, path, f"this checkpoint of {TITLE}", ("inputs",), "whose input follows from its weights")
    if layers.below(actor.tensors, actor.memory):
        memory = layers.memory(actor.tensors, actor.memory, str(path))
        inputs = (TensorSpec(OBSERVATION, (memory.input_size,)),)
        return layers.Remembering(normalise, memory, head), *layers.remembering(inputs, memory, contract)
    return nn.Sequential(*parts[0], *head), (TensorSpec(OBSERVATION, (layers.inputs(stack),)),), contract


def _found(content: Any, path: Path) -> _Actor:
    actor = _actor(content)
    if actor is None:
        raise CheckpointError(f"{path}: holds no actor as {TITLE} saves it")
    return actor


def _actor(content: Any) -> _Actor | None:
    """The actor in what a runner saved; None for anything else."""
    if not isinstance(content, Mapping) or not {"optimizer_state_dict", "iter", "infos"} <= content.keys():
        return None
    tensors = layers.tensors_of(content, "actor_state_dict")
    if layers.has_stack(tensors, "mlp") and layers.stems(tensors) <= OF_MODEL:
        spread = {"distribution.std_param", "distribution.log_std_param"} & tensors.keys()
        return _Actor(
            "4 or 5",
            tensors,
            "mlp",
            "rnn.rnn",
            "cnns",
            layers.below(tensors, "obs_normalizer"),
            "actor_state_dict.obs_normalizer",
            bool(spread),
        )
    tensors = layers.tensors_of(content, "model_state_dict")
    both = layers.has_stack(tensors, "actor") and layers.has_stack(tensors, "critic")
    if not both or not layers.stems(tensors) <= OF_ACTOR_CRITIC:
        return None
    inside = layers.below(tensors, "actor_obs_normalizer")
    apart = layers.tensors_of(content, "obs_norm_state_dict")
    return _Actor(
        "3" if inside else "2" if apart else "1 to 3",
        tensors,
        "actor",
        "memory_a.rnn",
        "actor_cnns",
        inside or apart,
        "model_state_dict.actor_obs_normalizer" if inside else "obs_norm_state_dict",
        bool({"std", "log_std"} & tensors.keys()),
    )


def _normaliser(actor: _Actor, where: str) -> list[normaliser.Normaliser]:
    """What stands before the network: `(x - _mean) / (_std + 0.01)`, or nothing."""
    if not actor.statistics:
        return []
    mean, std = actor.statistics.get("_mean"), actor.statistics.get("_std")
    if mean is None or std is None or mean.dim() != 2:
        raise CheckpointError(f"{where}: {actor.place} holds no _mean and _std [1, n]")
    return [normaliser.beside_deviation(mean[0], std[0], EPSILON, f"{where}: {actor.place}")]


def _parts(actor: _Actor, between: type[nn.Module], where: str) -> list[nn.Module]:
    """The layers in order, for people."""
    memory = layers.below(actor.tensors, actor.memory)
    found: list[nn.Module] = [layers.memory(actor.tensors, actor.memory, where)] if memory else []
    return found + [layer for layer in actor.stack(between, where) if isinstance(layer, nn.Linear)]


def _may_hold_spreads(actor: _Actor, outputs: int) -> bool:
    """Whether the last layer may give spreads, or the parameters of a Beta, beside the means."""
    return not actor.spread and outputs % 2 == 0


def _distribution_of(settings: RunSettings) -> Distribution | None:
    """What the settings of a run of version 4 or later say about the distribution; None for nothing."""
    actor = settings.at("actor")
    if not isinstance(actor, Mapping) or "distribution_cfg" not in actor:
        return None
    if actor["distribution_cfg"] is None:
        return "none"
    word = (settings.text("actor", "distribution_cfg", "class_name") or "").lower()
    return "beta" if "beta" in word else "gaussian" if "heteroscedastic" in word else None


def _head(
    actor: _Actor, outputs: int, agent: AgentConfig, settings: RunSettings, path: Path
) -> tuple[list[nn.Module], Contract, str]:
    """The steps from the last layer to the action, what the action means, and the distribution in words."""
    contract = Contract("continuous", normalised=bool(actor.statistics))
    match _distribution(actor, outputs, agent, settings, path):
        case "beta":
            low, high = _range(agent, settings, outputs // 2, path)
            scale = tuple(upper - lower for lower, upper in zip(low, high, strict=True))
            steps = [heads.BetaMean(), heads.Affine(scale, low)]
            return steps, replace(contract, low=low, high=high), "mean of a Beta distribution"
        case "gaussian" if not actor.spread:
            head, words = [heads.FirstHalf()], "mean of a Gaussian, whose spreads are left out"
        case "gaussian":
            head, words = [], "mean of a Gaussian"
        case _:
            head, words = [], "none"
    refuse(agent, path, f"this checkpoint of {TITLE}", ("bounds",), "whose actions are not bounded")
    return [*head], contract, words


def _distribution(
    actor: _Actor, outputs: int, agent: AgentConfig, settings: RunSettings, path: Path
) -> Distribution:
    """The distribution that the last layer of `outputs` numbers gives the parameters of.

    Raises CheckpointError where that has to be said and was not, and where it was said and cannot be.
    """
    if not _may_hold_spreads(actor, outputs) or actor.mlp == "actor":
        refuse(agent, path, f"this checkpoint of {TITLE}", ("distribution",), "which says that itself")
        return "gaussian" if actor.spread or outputs % 2 == 0 else "none"
    given = agent.distribution or _distribution_of(settings)
    if given is None:
        raise CheckpointError(
            f"{path}: the last layer gives {outputs} numbers, and the file does not say whether these are "
            f"{outputs} actions, or {outputs // 2} with a spread or a Beta's two parameters each; say which "
            f"with --distribution none, gaussian or beta"
        )
    if given == "categorical":
        raise CheckpointError(f"{path}: {TITLE} has no 'distribution' that is categorical; say another")
    return given


def _range(agent: AgentConfig, settings: RunSettings, elements: int, path: Path) -> heads.Bounds:
    """Between which values a Beta distribution lies."""
    given = heads.bounds(agent, elements, path)
    if given is not None:
        return given
    said = settings.at("actor", "distribution_cfg", "action_range")
    if isinstance(said, list) and len(said) == 2 and all(isinstance(value, int | float) for value in said):
        return (float(said[0]),) * elements, (float(said[1]),) * elements
    raise CheckpointError(
        f"{path}: the file does not say between which values the Beta distribution lies; give them with "
        f"--action-bounds LOW,HIGH ({TITLE}'s default is -1,1)"
    )
