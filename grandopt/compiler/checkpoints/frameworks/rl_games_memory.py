"""rl_games' actors with memory, put together by the shapes of their weights.

The recurrent layers stand behind the stack, or before it (`before_mlp`). The observation may join what they
are given (`concat_input`, only behind the stack) and what they give (`concat_output`); a norm may follow
them. None of that is in a file but as shapes: each order asks for its own, and where two would fit, the
settings of the run have to say which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks import layers
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings
from grandopt.errors import CheckpointError

SETTINGS = ("params", "network", "rnn")
WORDS = ("before_mlp", "concat_input", "concat_output")
"""Where the settings of a run say it."""


@dataclass(frozen=True)
class Order:
    """Where the memory stands, and what the observation joins."""

    before_stack: bool
    concat_input: bool
    concat_output: bool


class RememberingActor(layers.Remembering):
    """The actor up to its last layer, whose outputs come behind the memory's norm and the stack."""

    def __init__(
        self,
        normalise: nn.Module,
        memory: nn.GRU | nn.LSTM,
        stack: nn.Module,
        norm: nn.Module,
        head: nn.Module,
        order: Order,
    ) -> None:
        super().__init__(normalise, memory, head)
        self.stack = stack
        self.norm = norm
        self.order = order

    def forward(self, observation: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Observation [B, n] and state [B, layers, hidden] each (h, c) to action and next state."""
        encoded = self.encoder(observation)
        features = encoded if self.order.before_stack else self.stack(encoded)
        if self.order.concat_input:
            features = torch.cat((features, encoded), dim=1)
        remembered, after = self.step(features, state)
        out = self.norm(remembered)
        if self.order.concat_output:
            out = torch.cat((out, encoded), dim=1)
        if self.order.before_stack:
            out = self.stack(out)
        return (self.head(out), *after)


def fitting_order(
    memory: nn.GRU | nn.LSTM,
    stack: Sequence[nn.Module],
    head: int,
    observed: int | None,
    settings: RunSettings,
    path: Path,
) -> tuple[Order, int]:
    """How the parts fit, and how many numbers are observed.

    `head` is what the last layer takes, `observed` the size of the statistics where there are any. Raises
    CheckpointError where no order fits, or several do and the settings do not say which.
    """
    taken, given = layers.inputs(stack), layers.outputs(stack)
    size, read = memory.hidden_size, memory.input_size
    fitting: list[tuple[Order, int]] = []
    for joined in (0, 1):
        if taken == size + read * joined and head == given:
            fitting.append((Order(True, False, bool(joined)), read))
        fitting += [
            (Order(False, bool(again), bool(joined)), taken)
            for again in (0, 1)
            if read == given + taken * again and head == size + taken * joined
        ]
    fitting = [(order, seen) for order, seen in fitting if observed in (None, seen)]
    if len(fitting) > 1 and settings.at(*SETTINGS) is not None:
        before, again, joined = (bool(settings.at(*SETTINGS, word)) for word in WORDS)
        wanted = Order(before, again and not before, joined)
        fitting = [(order, seen) for order, seen in fitting if order == wanted]
    if len(fitting) == 1:
        return fitting[0]
    what = "fit in several orders" if fitting else "fit in no order that rl_games has"
    raise CheckpointError(
        f"{path}: memory ({read} to {size}) and stack ({taken} to {given}) {what}{settings.unread()}; "
        f"if the settings of the run (params/agent.yaml or config.yaml) say it, put them beside the file"
    )
