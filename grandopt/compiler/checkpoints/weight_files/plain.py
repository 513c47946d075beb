"""Networks that need no code: what they consist of follows from the names and shapes of their weights.

A state dict does not hold activations: `network: mlp:relu,tanh` says the one behind each hidden layer and,
after the comma, the one behind the last, if there is one. `gru:` and `lstm:` stand for a recurrent core with
such a stack behind it, `cnn:` for convolutions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.vetting.foreign import current_folder_importable
from grandopt.compiler.checkpoints.weight_files.convolutional_stack import (
    ConvolutionalStack,
    convolutional_stack,
    is_convolutional,
)
from grandopt.compiler.checkpoints.weight_files.recurrent_stack import is_recurrent, recurrent_stack
from grandopt.compiler.checkpoints.weight_files.stack import stack
from grandopt.config.schema import AgentConfig, InputConfig, StateConfig
from grandopt.errors import CheckpointError

WORDS = ("mlp", "gru", "lstm", "cnn")
INPUT = "obs"
"""The name of the input where nobody gives one."""

DEEPEST = 8
"""How many levels of names are looked through for parts."""

HIDDEN, OUTPUT = "ACTIVATION", "OUTPUT"
"""What stands in a proposal for what only the author of the network knows."""


@dataclass(frozen=True)
class Wanted:
    """What `network` asks for: the kind of network, and its activations."""

    word: str
    hidden: str
    output: str


class Spelled(Protocol):
    """A network that names and shapes spell.

    `inputs` is the shape of one observation as far as it is known, `state` that of each tensor of the state,
    the batch being its second dimension. `left_out` are tensors that are no part of it.
    """

    @property
    def word(self) -> str: ...
    @property
    def inputs(self) -> tuple[int, ...]: ...
    @property
    def state(self) -> dict[str, tuple[int, ...]]: ...
    @property
    def left_out(self) -> tuple[str, ...]: ...

    def words(self, hidden: str, output: str) -> list[str]:
        """The layers and activations, one behind the other."""
        ...

    def built(self, hidden: str, output: str) -> nn.Module:
        """The network with these activations."""
        ...


def wanted(network: str | None) -> Wanted | None:
    """What `network` asks for; None where it names code.

    Raises CheckpointError for an activation that is not known.
    """
    word, _, rest = (network or "").partition(":")
    if word not in WORDS:
        return None
    names = rest.split(",")
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown or len(names) > 2:
        with current_folder_importable():
            if importlib.util.find_spec(word) is not None:
                return None
        what = f"{unknown[0]!r} is no activation" if unknown else "there are two activations at most"
        raise CheckpointError(
            f"network {network!r}: {what}; write {word}:HIDDEN or {word}:HIDDEN,OUTPUT with "
            f"{', '.join(ACTIVATIONS)}"
        )
    return Wanted(word, names[0], names[1] if len(names) == 2 else "identity")


def spelled(tensors: Mapping[str, torch.Tensor], where: str, *, ordered: bool = True) -> Spelled:
    """The network that a state dict spells; raises CheckpointError where it spells none."""
    if is_recurrent(tensors):
        return recurrent_stack(tensors, where, ordered=ordered)
    if is_convolutional(tensors):
        return convolutional_stack(tensors, where, ordered=ordered)
    return stack(tensors, where, ordered=ordered)


def in_words(found: Spelled, hidden: str = HIDDEN, output: str = OUTPUT) -> str:
    """The network as one would write it down."""
    return f"Sequential({', '.join(found.words(hidden, output))})"


def proposal(tensors: Mapping[str, torch.Tensor], key: str, *, ordered: bool = True) -> dict[str, object]:
    """What the tensors at `key` of a file spell, and how to have it built, JSON-able.

    Where they spell no network as a whole, `parts` lists those of several layers whose names share their
    beginning, each with its `key`; {} where there are none.
    """
    said = spelling(tensors, ordered=ordered)
    if said:
        return said
    parts = [
        {"key": f"{key}.{name}" if key else name, **part} for name, part in _parts(tensors, ordered=ordered)
    ]
    return {"parts": parts} if parts else {}


def spelling(tensors: Mapping[str, torch.Tensor], *, ordered: bool = True) -> dict[str, object]:
    """What all of the tensors spell, and how to have it built, JSON-able; {} where they spell nothing."""
    try:
        found = spelled(tensors, "", ordered=ordered)
    except CheckpointError:
        return {}
    said: dict[str, object] = {
        "spells": in_words(found),
        "network": f"{found.word}:{HIDDEN} or {found.word}:{HIDDEN},{OUTPUT}, such as {found.word}:relu,tanh",
    }
    if isinstance(found, ConvolutionalStack):
        said["network_args"] = {"stride": ["S"] * len(found.convolutions)}
        said["inputs"] = [{"name": INPUT, "shape": [*found.inputs, *found.sides]}]
    return {**said, "left_out": list(found.left_out)} if found.left_out else said


def _parts(
    tensors: Mapping[str, torch.Tensor], *, ordered: bool, depth: int = 0
) -> Iterator[tuple[str, dict[str, object]]]:
    """The largest parts of a state dict that spell a network of several layers, by their common beginning."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        first, _, rest = key.partition(".")
        if rest:
            groups.setdefault(first, {})[rest] = tensor
    for first, inner in groups.items():
        said = spelling(inner, ordered=ordered) if len({key.rpartition(".")[0] for key in inner}) > 1 else {}
        if said:
            yield first, said
        elif depth < DEEPEST:
            for name, part in _parts(inner, ordered=ordered, depth=depth + 1):
                yield f"{first}.{name}", part


def configured(found: Spelled, asked: Wanted, agent: AgentConfig, where: str) -> tuple[Spelled, AgentConfig]:
    """The network that is asked for, and the agent with the inputs and the state that follow from it.

    Raises CheckpointError where the weights spell another kind of network, and for settings that do not fit.
    """
    if found.word != asked.word:
        raise CheckpointError(
            f"{where}: network '{asked.word}:…' is asked for, but its weights spell {in_words(found)}; "
            f"write {found.word}:{asked.hidden}" + ("" if asked.output == "identity" else f",{asked.output}")
        )
    if isinstance(found, ConvolutionalStack):
        shape = agent.inputs[0].shape if agent.inputs else None
        return found.placed(agent.network_args, shape, where), agent
    if agent.network_args:
        raise CheckpointError(f"{where}: 'network_args' cannot be used with {agent.network!r}; remove it")
    inputs = agent.inputs or (InputConfig(name=INPUT, shape=found.inputs),)
    if not found.state:
        return found, agent.model_copy(update={"inputs": inputs})
    if agent.state or agent.stepwise:
        raise CheckpointError(
            f"{where}: 'state' and 'stepwise' cannot be used with {agent.network!r}, whose state follows "
            f"from its weights ({', '.join(found.state)}); remove them"
        )
    state = {name: StateConfig(output=f"{name}_next", batch_axis=1) for name in found.state}
    # Written without its batch; `batch_axis` says where that comes in.
    more = tuple(InputConfig(name=name, shape=shape) for name, shape in found.state.items())
    outputs = (*agent.outputs, *(item.output for item in state.values())) if agent.outputs else ()
    update = {"inputs": (*inputs, *more), "state": state, "outputs": outputs}
    return found, agent.model_copy(update=update)
