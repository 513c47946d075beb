"""A recurrent core with a plain stack behind it, rebuilt from the names and shapes of their weights.

A GRU's weights have three rows for each number of its state, an LSTM's four. Cells (`nn.LSTMCell`) are
layers of which there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.weight_files import stack
from grandopt.compiler.checkpoints.weight_files.recurrent_layers import recurrent_layers
from grandopt.compiler.checkpoints.weight_files.stack import Stack
from grandopt.errors import CheckpointError

PART = re.compile(r"(?P<core>.*?)\.?(?P<part>(weight|bias)_(ih|hh))(?P<layer>_l\d+)?")
UNSTEADY = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+_reverse|weight_hr_l\d+")
"""Tensors of bidirectional layers, and of LSTMs with a projection."""

STATE: dict[str, tuple[str, ...]] = {"gru": ("h",), "lstm": ("h", "c")}
"""The names of the state, by word."""


class CoreAndHead(nn.Module):
    """One step of a recurrent core, and the layers behind it."""

    def __init__(self, core: nn.GRU | nn.LSTM, head: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.head = head

    def forward(self, obs: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """An observation [B, size] and the state, each [layers, B, width]; the answer and the next state."""
        features, kept = self.core(obs.unsqueeze(0), state if len(state) > 1 else state[0])
        return (self.head(features.squeeze(0)), *(kept if isinstance(kept, tuple) else (kept,)))


@dataclass(frozen=True)
class RecurrentStack:
    """A core and the stack behind it, if there is one; `left_out` are tensors that are none of theirs."""

    word: str
    core: nn.GRU | nn.LSTM
    head: Stack | None
    left_out: tuple[str, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return (int(self.core.input_size),)

    @property
    def state(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of the state, without its batch, which is its second dimension."""
        shape = (int(self.core.num_layers), int(self.core.hidden_size))
        return dict.fromkeys(STATE[self.word], shape)

    def words(self, hidden: str, output: str) -> list[str]:
        """The layers and activations, one behind the other."""
        layers = "" if self.core.num_layers == 1 else f", layers={self.core.num_layers}"
        core = f"{self.word.upper()}({self.core.input_size}, {self.core.hidden_size}{layers})"
        return [core, *(self.head.words(hidden, output) if self.head else [output])]

    def built(self, hidden: str, output: str) -> nn.Module:
        """The network with these activations, in the dtypes of the weights."""
        head = self.head.built(hidden, output) if self.head else ACTIVATIONS[output]()
        return CoreAndHead(self.core, head)


def is_recurrent(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the tensors have the names of a recurrent layer's."""
    return any(PART.fullmatch(key) for key in tensors)


def recurrent_stack(
    tensors: Mapping[str, torch.Tensor], where: str, *, ordered: bool = True
) -> RecurrentStack:
    """The core and head that a state dict spells; raises CheckpointError where it spells none.

    Where the names do not say whether layers stand before the core or behind it, they are refused.
    """
    kept, left_out = stack.without_spread(tensors)
    for key in kept:
        if UNSTEADY.search(key):
            raise CheckpointError(
                f"{where}: tensor {key!r} belongs to a recurrent layer that is bidirectional or has a "
                f"projection; give the network as module:callable"
            )
    found = {key: match for key in kept if (match := PART.fullmatch(key))}
    names = {match["core"] for match in found.values()}
    if len(names) > 1:
        raise CheckpointError(
            f"{where}: holds {len(names)} recurrent layers ({', '.join(sorted(names))}); choose a part with "
            f"`key`, or give the network as module:callable"
        )
    name = names.pop()
    own = {f"{match['part']}{match['layer'] or '_l0'}": kept[key] for key, match in found.items()}
    core = recurrent_layers(own, name, where)
    word = type(core).__name__.lower()
    rest = {key: value for key, value in kept.items() if key not in found}
    if not rest:
        return RecurrentStack(word, core, None, left_out)
    head = stack.stack(rest, where, ordered=ordered)
    first_key = next(iter(kept))
    if not _stands_behind(head, core, name, core_leads=ordered and first_key in found):
        raise CheckpointError(
            f"{where}: its layers ({', '.join(layer.name for layer in head.layers)}) do not stand behind its "
            f"{word.upper()} {name!r} without doubt; give the network as module:callable"
        )
    return RecurrentStack(word, core, head, left_out)


def _stands_behind(head: Stack, core: nn.GRU | nn.LSTM, name: str, *, core_leads: bool) -> bool:
    """Whether the layers can only stand behind the core: by their order, else by their widths."""
    if head.inputs != (core.hidden_size,):
        return False
    names = [layer.name for layer in head.layers]
    patterns = {stack.numberless(layer) for layer in names}
    if patterns == {stack.numberless(name)}:
        return stack.natural(name) < stack.natural(names[0])
    return core_leads or (len(patterns) == 1 and head.layers[-1].weight.shape[0] != core.input_size)
