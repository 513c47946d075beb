"""rl_games' checkpoints (`.pth`): the actor as `PpoPlayerContinuous` and `PpoPlayerDiscrete` call it.

A file holds the state dict of the whole model at `model`: the network at `a2c_network`, the statistics of
observations at `running_mean_std`, which older files keep beside the model. The player normalises, takes the
mean (`mu`), holds it within ±1 and brings it to the bounds of the action space, or takes the largest logit.
Activations are in the settings of the run alone: `params/agent.yaml` of Isaac Lab, `config.yaml` of others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.frameworks import asked, heads, layers, normaliser
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.frameworks.rl_games_memory import Order, RememberingActor, fitting_order
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings, beside
from grandopt.compiler.checkpoints.sb3.actions import ArgMax, Clip, GroupArgMax
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "rl_games"
TITLE = "rl_games"
TAKES = frozenset({"activation", "bounds"})

NETWORK = ("params", "network")
ACTIVATION = (*NETWORK, "mlp", "activation")
LAST_ACTIVATION = (*NETWORK, "space", "continuous", "mu_activation")
CLIPS = ("params", "config", "clip_actions")
"""Where the settings of a run have them."""

OWN_ACTIVATIONS = {"none": "identity"}

EPSILON, CLIP = 1e-5, 5.0
"""Of `RunningMeanStd`: added to the variance, and what the result is held within."""

STATISTICS = "running_mean_std"
OF_MODEL = {"a2c_network", STATISTICS, "value_mean_std"}
OF_NETWORK = {
    *("actor_mlp", "critic_mlp", "mu", "sigma", "logits", "value", "_disc_mlp", "_disc_logits"),
    *("rnn", "a_rnn", "c_rnn", "layer_norm", "a_layer_norm", "c_layer_norm"),
}
"""What the names of tensors begin with, where the network is rl_games' own (with a discriminator for AMP)."""


@dataclass(frozen=True)
class _Actor:
    """The actor in a file: the tensors of its network, and its statistics with the place that they are at.

    `logits` names the layers of discrete actions, empty for an actor whose actions are numbers; `memory` is
    what the names of its recurrent layers begin with.
    """

    tensors: Tensors
    statistics: Tensors
    place: str
    logits: tuple[str, ...]
    memory: str

    @property
    def norm(self) -> str:
        """The name of the norm behind the recurrent layers."""
        return "a_layer_norm" if self.memory.startswith("a_") else "layer_norm"


@dataclass(frozen=True)
class _Body:
    """What stands before the last layer, and how many numbers it observes."""

    normalise: list[normaliser.Normaliser]
    stack: list[nn.Module]
    observed: int
    memory: nn.GRU | nn.LSTM | None = None
    norm: nn.Module | None = None
    order: Order | None = None

    def module(self, head: list[nn.Module]) -> nn.Module:
        """The policy with `head` at its end."""
        if self.memory is None or self.order is None:
            return nn.Sequential(*self.normalise, *self.stack, *head)
        norm = nn.Identity() if self.norm is None else self.norm
        before, stack = nn.Sequential(*self.normalise), nn.Sequential(*self.stack)
        return RememberingActor(before, self.memory, stack, norm, nn.Sequential(*head), self.order)


def recognises(content: Any) -> bool:
    """Whether it is what an agent of rl_games saves, with the network that rl_games itself brings."""
    return _actor(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The actor's layers, its normaliser, and what has to be given (see `Framework`)."""
    actor, settings, where = _found(content, path), beside(path), str(path)
    stack = layers.stack(actor.tensors, "actor_mlp", nn.Identity, where)
    memory = layers.below(actor.tensors, actor.memory)
    shown = [layers.memory(actor.tensors, actor.memory, where)] if memory else []
    last = [layers.linear(actor.tensors, name, where) for name in actor.logits or ("mu",)]
    ask = asked.ACTIVATION if actor.logits else asked.ACTIVATIONS_ASKED
    return {
        "recognised": "an agent of rl_games, "
        + ("discrete actions" if actor.logits else "continuous actions"),
        "layers": [str(layer) for layer in (*stack, *shown, *last) if not isinstance(layer, nn.Identity)],
        "normaliser": f"(x - mean) / sqrt(var + {EPSILON}) within ±{CLIP} of {actor.place}"
        if actor.statistics
        else None,
        "asks": asked.missing(settings, ACTIVATION, ask=ask),
        **settings.details(),
        **weights.listed(actor.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The action of the deterministic player, from raw observations on; with memory also h (and c).

    Numbers are within -1 … 1 unless `bounds` gives those of the action space, and are not clipped with
    "none", or where the settings of the run say so. Raises CheckpointError where nobody says the
    activation, and for weights that do not fit.
    """
    actor, settings, where = _found(content, path), beside(path), str(path)
    last = None if actor.logits else settings.text(*LAST_ACTIVATION)
    said, between, behind = asked.activations(
        agent, path, settings, settings.text(*ACTIVATION), last, OWN_ACTIVATIONS
    )
    stack = layers.stack(actor.tensors, "actor_mlp", between, where, last_active=True)
    if actor.logits:
        refuse(agent, path, f"this checkpoint of {TITLE}", ("bounds",), "whose actions are discrete")
        scores, decide, contract = _discrete(actor, where)
    else:
        scores, decide, contract = _continuous(actor, behind, agent, settings, path)
    observation, normalise = _normaliser(actor, where)
    body = _body(actor, stack, scores, normalise, settings, path)
    if normalise:
        contract = replace(contract, normalised=True, clip_obs=CLIP)
    inputs: tuple[TensorSpec, ...] = (TensorSpec(observation, (body.observed,)),)
    if body.memory is not None:
        inputs, contract = layers.remembering(inputs, body.memory, contract)
    found = FoundStatistics(actor.place, "RunningMeanStd", used=True)
    policy = Policy(
        body.module([*scores, *decide]),
        inputs,
        contract,
        {"activation": said, **settings.details()},
        scores=body.module(scores) if actor.logits else None,
        moments={observation: normalise[0].moments()} if normalise else {},
        statistics=(found,) if normalise else (),
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


def _found(content: Any, path: Path) -> _Actor:
    actor = _actor(content)
    if actor is None:
        raise CheckpointError(f"{path}: holds no actor as {TITLE} saves it")
    return actor


def _actor(content: Any) -> _Actor | None:
    """The actor in what an agent of rl_games saved; None for anything else."""
    model = layers.tensors_of(content, "model")
    network = layers.below(model, "a2c_network")
    known = layers.stems(model) <= OF_MODEL and layers.stems(network) <= OF_NETWORK
    if not known or not layers.has_stack(network, "actor_mlp"):
        return None
    logits: tuple[str, ...] = ("logits",)
    if "logits.weight" not in network:
        each = [key for key in layers.below(network, "logits") if key.endswith(".weight")]
        logits = tuple(f"logits.{index}" for index in range(len(each)))
    if bool(logits) == ("mu.weight" in network):
        return None
    apart = layers.tensors_of(content, STATISTICS)  # which the player reads last
    inside = layers.below(model, STATISTICS)
    own = next((key for key in ("a_rnn", "rnn") if layers.below(network, key)), "rnn")
    place = STATISTICS if apart else f"model.{STATISTICS}"
    return _Actor(network, apart or inside, place, logits, f"{own}.rnn")


def _normaliser(actor: _Actor, where: str) -> tuple[str, list[normaliser.Normaliser]]:
    """The name of the observation, and what normalises it, or nothing.

    Raises CheckpointError where several observations are normalised, each by itself.
    """
    if not actor.statistics:
        return OBSERVATION, []
    name, held = OBSERVATION, actor.statistics
    by_key = layers.below(held, STATISTICS)
    if by_key:
        names = sorted({key.rpartition(".")[0] for key in by_key})
        if len(names) > 1:
            raise CheckpointError(
                f"{where}: normalises {len(names)} observations ({', '.join(names[:5])}), which only a "
                f"network of your own joins; give it with `network: module:callable` and `key: model`"
            )
        name, held = names[0], layers.below(by_key, names[0])
    mean, var = held.get("running_mean"), held.get("running_var")
    if mean is None or var is None or mean.dim() != 1:
        raise CheckpointError(f"{where}: {actor.place} holds no running_mean and running_var [n]")
    return name, [normaliser.inside_root(mean, var, EPSILON, f"{where}: {actor.place}", CLIP)]


def _discrete(actor: _Actor, where: str) -> tuple[list[nn.Module], list[nn.Module], Contract]:
    """The layer of the logits, the step that decides, and what the decision means."""
    found = [layers.linear(actor.tensors, name, where) for name in actor.logits]
    groups = tuple(layer.out_features for layer in found)
    contract = Contract("argmax", groups=groups)
    if actor.logits == ("logits",):
        return [*found], [ArgMax()], contract
    return [heads.SideBySide(found)], [GroupArgMax(groups)], contract


def _continuous(
    actor: _Actor, behind: nn.Module | None, agent: AgentConfig, settings: RunSettings, path: Path
) -> tuple[list[nn.Module], list[nn.Module], Contract]:
    """The means with what stands behind them, the steps from there, and what the action means."""
    mean = layers.linear(actor.tensors, "mu", str(path))
    scores: list[nn.Module] = [mean] if behind is None else [mean, behind]
    if agent.bounds == "none" or (agent.bounds is None and settings.at(*CLIPS) is False):
        return scores, [], Contract("continuous")
    elements = mean.out_features
    one = (1.0,) * elements
    low, high = heads.bounds(agent, elements, path) or ((-1.0,) * elements, one)
    steps: list[nn.Module] = [Clip((-1.0,) * elements, one), *heads.rescaled(low, high)]
    return scores, steps, Contract("continuous", low=low, high=high)


def _body(
    actor: _Actor,
    stack: list[nn.Module],
    scores: list[nn.Module],
    normalise: list[normaliser.Normaliser],
    settings: RunSettings,
    path: Path,
) -> _Body:
    """What stands before `scores`, in the order that the shapes allow."""
    if not layers.below(actor.tensors, actor.memory):
        return _Body(normalise, stack, layers.inputs(stack))
    where = str(path)
    memory = layers.memory(actor.tensors, actor.memory, where)
    norm = layers.norm(actor.tensors, actor.norm, where) if f"{actor.norm}.weight" in actor.tensors else None
    seen = normalise[0].mean.numel() if normalise else None
    order, observed = fitting_order(memory, stack, layers.inputs(scores), seen, settings, path)
    return _Body(normalise, stack, observed, memory, norm, order)
