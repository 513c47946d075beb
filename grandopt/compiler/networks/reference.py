"""The reference agents by name: what they take and give, and their seeded networks."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from grandopt.compiler.networks import (
    decision_gate,
    lvn_embedder,
    nature_cnn,
    null_agent,
    regime_embedder,
    shared_policy,
    strategic_system,
    structure_embedder,
    tactical_embedder,
    tactical_system,
)
from grandopt.config.agents import REFERENCE_AGENTS, ReferenceTargets
from grandopt.errors import ConfigError
from grandopt.signature import Role, TensorSpec


@dataclass(frozen=True)
class ReferenceAgent:
    """One reference agent. An output of the role "scores" holds action probabilities, decided by arg max."""

    name: str
    network: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[tuple[str, Role], ...]

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.outputs)

    @property
    def output_roles(self) -> tuple[Role, ...]:
        return tuple(role for _, role in self.outputs)

    @property
    def targets(self) -> ReferenceTargets:
        """Median latency in ms of one observation, and calls per second."""
        return REFERENCE_AGENTS[self.name]


NORMALISED = 10.0
"""The reference agents take features and embeddings that are normalised, and clipped to 10 on both sides: the
range that VecNormalize gives, too. It is a bound of their inputs by definition."""


def _normalised(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, shape, low=-NORMALISED, high=NORMALISED)


GAUSSIAN: tuple[tuple[str, Role], ...] = (("mu", "value"), ("sigma", "value"))

_AGENTS = (
    ReferenceAgent(
        "tactical_system",
        tactical_system.TacticalSystem,
        (_normalised("bars", tactical_system.BARS, tactical_system.FEATURES),),
        (("fvg", "scores"), ("momentum", "scores"), ("entry", "scores"), ("value", "value")),
    ),
    ReferenceAgent(
        "strategic_system",
        strategic_system.StrategicSystem,
        tuple(_normalised(name, width) for name, width in strategic_system.INDICATORS.items()),
        (
            ("mlmi_action", "scores"),
            ("nwrqk_action", "scores"),
            ("mmd_action", "scores"),
            ("value", "value"),
        ),
    ),
    ReferenceAgent(
        "shared_policy",
        shared_policy.SharedPolicy,
        (_normalised("state", sum(shared_policy.EMBEDDINGS)),),
        (("action", "scores"), ("value", "value")),
    ),
    ReferenceAgent(
        "decision_gate",
        decision_gate.DecisionGate,
        (_normalised("state", decision_gate.STATE),),
        (("decision", "scores"),),
    ),
    ReferenceAgent(
        "structure_embedder",
        structure_embedder.StructureEmbedder,
        (_normalised("bars", structure_embedder.BARS, structure_embedder.FEATURES),),
        GAUSSIAN,
    ),
    ReferenceAgent(
        "tactical_embedder",
        tactical_embedder.TacticalEmbedder,
        (_normalised("bars", tactical_embedder.BARS, tactical_embedder.FEATURES),),
        GAUSSIAN,
    ),
    ReferenceAgent(
        "regime_embedder",
        regime_embedder.RegimeEmbedder,
        (_normalised("state", regime_embedder.FEATURES),),
        (("embedding", "value"),),
    ),
    ReferenceAgent(
        "lvn_embedder",
        lvn_embedder.LvnEmbedder,
        (_normalised("node", lvn_embedder.FEATURES),),
        (("embedding", "value"),),
    ),
)

_YARDSTICKS = (
    ReferenceAgent(
        "null",
        null_agent.NullAgent,
        (TensorSpec("state", (null_agent.INPUTS,)),),
        (("copy", "value"),),
    ),
    ReferenceAgent(
        "nature_cnn",
        nature_cnn.NatureCnn,
        (TensorSpec("frames", nature_cnn.FRAMES, low=0.0, high=1.0),),
        (("q_values", "value"),),
    ),
)

REFERENCE: dict[str, ReferenceAgent] = {agent.name: agent for agent in _AGENTS}
YARDSTICKS: dict[str, ReferenceAgent] = {agent.name: agent for agent in _YARDSTICKS}
"""Networks to benchmark engines with. They are nobody's job: `optimize` does not know them."""


def find(name: str) -> ReferenceAgent:
    """The agent of that name; raises ConfigError that suggests the nearest reference agent."""
    agent = REFERENCE.get(name) or YARDSTICKS.get(name)
    if agent is None:
        near = difflib.get_close_matches(name, REFERENCE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(REFERENCE)}"
        raise ConfigError(f"unknown reference agent {name!r}; {hint}")
    return agent


def build(name: str, seed: int = 0) -> nn.Module:
    """The network of the reference agent `name`, in eval mode and without gradients.

    The same seed gives the same weights, whatever the caller's random state, which is left as it was.
    Raises ConfigError for an unknown name.
    """
    agent = find(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = agent.network()
    return network.eval().requires_grad_(False)
