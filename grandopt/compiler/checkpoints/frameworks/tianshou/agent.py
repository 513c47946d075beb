"""Tianshou's checkpoints (`policy.pth`): the state dict of an algorithm or of its policy, versions 0.4 to 2.

A network is a `Net` (`model.model.0`, …) and, for actors, one or two layers behind it: `mu` and a spread, or
`last`. What a policy does to an action before an environment gets it (`map_action`) is attributes of its
object, which are not saved: bounded or not, `max_action`, the action space. So is the activation of the
`Net`; between the layers behind it, and in the branches of a dueling network, Tianshou has ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks import asked, fixed, heads, layers
from grandopt.compiler.checkpoints.frameworks.around import Wrapper, around
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION, Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings
from grandopt.compiler.checkpoints.frameworks.tianshou.networks import (
    Found,
    Kind,
    choices,
    found_in,
    network_of,
)
from grandopt.compiler.checkpoints.sb3.actions import ArgMax, Clip
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "tianshou"
TITLE = "Tianshou"
TAKES = frozenset({"activation", "bounds", "statistics", "fix"})

WRAPPER = Wrapper("VectorEnvNormObs", float(torch.finfo(torch.float32).eps), 10.0)
"""Whose `obs_rms` examples save beside the policy, as an object that would have to be unpickled."""


METHODS = ("clip", "tanh", "none")
"""Tianshou's `action_bound_method`."""

ACTIONS = "--fix actions=discrete|continuous: what the actor gives"
SQUASHED = "--fix squashed=true|false: whether the policy bounds the mean with a tanh, as SAC's does"
UNBOUNDED = "--fix unbounded=true|false: whether the actor was made with unbounded=True"
MAX_ACTION = "--fix max_action=NUMBER: the actor's max_action"
STATISTICS = "--statistics FILE.npz, or none: mean and var of the obs_rms that was saved beside the policy"
BOUNDS = "--action-bounds LOW,HIGH, or none without action_scaling: the action space"


def recognises(content: Any) -> bool:
    """Whether it holds one of Tianshou's own networks under the names that its policies give them."""
    return found_in(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The policy's layers, and what has to be given (see `Framework`)."""
    found = _required(content, path)
    asks = [asked.ACTIVATION, *([STATISTICS] if _normalises(content) else [])]
    if found.kind is None:
        asks.append(SQUASHED if "mu" in found.branches else ACTIONS)
    if found.kind in ("gaussian", "squashed gaussian") or (found.kind is None and "mu" in found.branches):
        asks += [UNBOUNDED, f"{MAX_ACTION}, unless it is unbounded", BOUNDS]
    elif found.kind != "discrete" and found.kind != "q values":
        asks += [MAX_ACTION, BOUNDS]
    return {
        "recognised": f"a policy of {TITLE}, {found.kind or 'of which the file does not say the kind'}",
        "layers": [str(layer) for layer in network_of(found, nn.Identity, str(path))],
        "asks": asks,
        **weights.listed(found.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """What `policy(...).act` is in evaluation, after `map_action`.

    Raises CheckpointError where what the file does not hold was not given, and for weights that do not fit.
    """
    found, where = _required(content, path), str(path)
    kind = found.kind or _kind(found, agent, path)
    said, between = asked.activation(agent, path, RunSettings())
    network = network_of(found, between, where)
    if agent.statistics is None and _normalises(content):
        raise fixed.missing(path, "what normalised the observations, only that something did", [STATISTICS])
    before = around(agent.statistics, layers.inputs(network), WRAPPER)
    details = {"kind": kind, "activation": said, **before.details}
    scores = None
    if kind in ("discrete", "q values"):
        refuse(agent, path, f"this checkpoint of {TITLE}", ("bounds",), "whose actions are choices")
        fixed.require_known(agent, path, f"this policy of {TITLE}", () if found.kind else ("actions",))
        steps: list[nn.Module] = [ArgMax()]
        contract = Contract("argmax", groups=(choices(network),))
        scores = nn.Sequential(*before.steps, *network)
    else:
        steps, contract, mapping = _mapping(kind, layers.outputs(network), found, agent, path)
        details |= mapping
    policy = Policy(
        nn.Sequential(*before.steps, *network, *steps),
        (TensorSpec(OBSERVATION, (layers.inputs(network),)),),
        before.contract(contract),
        details,
        scores=scores,
        moments=before.moments,
        statistics=before.statistics,
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


def _normalises(content: Any) -> bool:
    """Whether statistics of observations were saved, too, which are left out or None where nobody had any."""
    return isinstance(content, Mapping) and "obs_rms" in content


def _required(content: Any, path: Path) -> Found:
    found = found_in(content)
    if found is None:
        raise CheckpointError(f"{path}: holds no policy as {TITLE} saves it")
    return found


def _kind(found: Found, agent: AgentConfig, path: Path) -> Kind:
    """The kind of a policy whose file does not say it."""
    if "mu" in found.branches:
        squashed = fixed.flag(agent, path, "squashed")
        if squashed is None:
            raise fixed.missing(path, "whether the policy bounds the mean with a tanh (SAC)", [SQUASHED])
        return "squashed gaussian" if squashed else "gaussian"
    actions = fixed.word(agent, path, "actions", ("discrete", "continuous"))
    if actions is None:
        raise fixed.missing(path, "whether its actions are choices or numbers", [ACTIONS])
    return "discrete" if actions == "discrete" else "deterministic"


def _mapping(
    kind: Kind, elements: int, found: Found, agent: AgentConfig, path: Path
) -> tuple[list[nn.Module], Contract, dict[str, Any]]:
    """The steps from the last layer to the action, what it means, and what is said of them."""
    names = ["max_action", "action_bound_method"]
    names += [] if kind == "deterministic" else ["unbounded"]
    names += [] if found.kind else ["actions" if kind == "deterministic" else "squashed"]
    fixed.require_known(agent, path, f"this policy of {TITLE}", names)
    steps, details = _bounded(kind, elements, agent, path)
    if kind == "squashed gaussian":
        steps.append(nn.Tanh())
    method = fixed.word(agent, path, "action_bound_method", METHODS)
    if method is None:
        method = "none" if kind == "squashed gaussian" else "clip"
    low: tuple[float, ...] | None = (-1.0,) * elements
    high: tuple[float, ...] | None = (1.0,) * elements
    if method == "clip":
        steps.append(Clip((-1.0,) * elements, (1.0,) * elements))
    elif method == "tanh":
        steps.append(nn.Tanh())
    elif kind != "squashed gaussian":
        low = high = None
    if agent.bounds is None:
        raise fixed.missing(path, "between which values the environment takes actions", [BOUNDS])
    space = heads.bounds(agent, elements, path)
    if space is not None:
        steps += heads.rescaled(*space)
        low, high = space if low is not None else (None, None)
    squashed = any(isinstance(step, nn.Tanh) for step in steps)
    details |= {"action_bound_method": method, "action_scaling": space is not None}
    return steps, Contract("continuous", low=low, high=high, squashed=squashed), details


def _bounded(
    kind: Kind, elements: int, agent: AgentConfig, path: Path
) -> tuple[list[nn.Module], dict[str, Any]]:
    """What the actor itself does to its last layer: `max_action * tanh(…)`, or nothing."""
    if kind != "deterministic":
        unbounded = fixed.flag(agent, path, "unbounded")
        if unbounded is None:
            raise fixed.missing(path, "whether the actor bounds its mean", [UNBOUNDED])
        if unbounded:
            if "max_action" in agent.fix:
                raise CheckpointError(f"{path}: 'fix' gives max_action, which an unbounded actor ignores")
            return [], {"unbounded": True}
    largest = fixed.number(agent, path, "max_action")
    if largest is None:
        raise fixed.missing(path, "what the actor multiplies its tanh with", [MAX_ACTION])
    steps: list[nn.Module] = [nn.Tanh()]
    if largest != 1.0:
        steps.append(heads.Affine((largest,) * elements, (0.0,) * elements))
    return steps, {"max_action": largest}
