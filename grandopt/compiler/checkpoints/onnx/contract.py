"""What the names in a file say: recurrent state, actions, and outputs that are none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from grandopt.compiler.checkpoints.onnx.document import ValueInfo
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, Role, StateTensor

STATES = {"h_in": "h_out", "c_in": "c_out", "state_ins": "state_outs", "recurrent_in": "recurrent_out"}
"""State by the names that Isaac Lab and RSL-RL, Godot RL Agents, and ML-Agents give it."""

ACTIONS = ("actions", "continuous_actions", "deterministic_continuous_actions")
"""Outputs that these call a continuous action."""

SAMPLED = {
    "continuous_actions": "deterministic_continuous_actions",
    "discrete_actions": "deterministic_discrete_actions",
}
"""Outputs of ML-Agents that are drawn at random, where the file also has them without."""

STATE_LIKE = re.compile(
    r"hidden|cell|recurrent|memory|carry|\bh_?(x|0|in|t)?\b|\bc_?(x|0|in|t)?\b|state", re.I
)


def chosen_outputs(outputs: Sequence[ValueInfo], agent: AgentConfig) -> tuple[str, ...]:
    """The outputs that the configuration names, else all but those with a deterministic form beside them."""
    if agent.outputs:
        return agent.outputs
    names = [info.name for info in outputs]
    return tuple(name for name in names if SAMPLED.get(name) not in names)


def states(
    inputs: Sequence[ValueInfo],
    outputs: Sequence[str],
    agent: AgentConfig,
    known: Mapping[str, ValueInfo],
    path: Path,
) -> tuple[StateTensor, ...]:
    """The recurrent state: what the configuration declares, else what the names say.

    Raises CheckpointError for a declared name that is none, and for an input that looks like state but is not
    declared.
    """
    names = [info.name for info in inputs]
    for name, declared in agent.state.items():
        for side, given, all_names in (("input", name, names), ("output", declared.output, list(outputs))):
            if given not in all_names:
                raise CheckpointError(
                    f"{path}: 'state' names the {side} {given!r}, which is none; the {side}s are "
                    f"{', '.join(all_names)}"
                )
    if agent.state:
        return tuple(
            StateTensor(
                name, item.output, tuple(item.initial) if isinstance(item.initial, list) else item.initial
            )
            for name, item in agent.state.items()
        )
    found = tuple(StateTensor(name, STATES[name]) for name in names if STATES.get(name) in outputs)
    taken = {state.input for state in found} | {state.output for state in found}
    for info in inputs:
        if info.name in taken or agent.outputs or not STATE_LIKE.search(info.name) or info.shape is None:
            continue
        fits = [name for name in outputs if name not in taken and known[name].shape == info.shape]
        if fits:
            one = fits[0] if len(fits) == 1 else "OUTPUT"
            raise CheckpointError(
                f"{path}: input {info.name!r} may be a recurrent state whose next value is output "
                f"{' or '.join(map(repr, fits))}; say so (`state: {{{info.name}: {one}}}`, --state "
                f"{info.name}={one}), or name the outputs if it is none (`outputs: "
                f"[{', '.join(outputs)}]`, or --outputs)"
            )
    return found


def contract(outputs: Sequence[str], state: tuple[StateTensor, ...]) -> Contract:
    """What is known of the action."""
    return Contract(action="continuous" if any(name in ACTIONS for name in outputs) else "none", state=state)


def roles(outputs: Sequence[str]) -> tuple[Role, ...]:
    """Of each output, whether it is called an action."""
    return tuple("action" if name in ACTIONS else "value" for name in outputs)
