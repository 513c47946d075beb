"""Where an archive has its batch: in the sizes that its code names, and in the state of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

VIEWS = ("aten::view", "aten::reshape", "aten::expand")
MADE = ("aten::zeros", "aten::ones", "aten::full", "aten::empty")
"""Operators whose sizes may hold the batch: on tensors, and those that make some."""

RECURRENT = {
    **dict.fromkeys(("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"), 1),
    **dict.fromkeys(("aten::lstm_cell", "aten::gru_cell", "aten::rnn_tanh_cell", "aten::rnn_relu_cell"), 0),
}
"""Recurrent layers and cells, and where their state has the batch: layers have themselves first."""


@dataclass(frozen=True)
class Freed:
    """Where a network for one row has its batch of 1 built in, as a guess to be proven.

    With `views` a leading 1 in the sizes of a view is the batch, with `made` the 1 in that place of the sizes
    of a tensor made anew, and with `selected` what takes the first row takes all.
    """

    views: bool = False
    made: int | None = None
    selected: bool = False

    def sizes(self, kind: str, values: Sequence[Any], batch: Any) -> list[Any]:
        """The arguments of an operator with the batch in the place of the 1 that stands for it."""
        place = 0 if kind in VIEWS and self.views else self.made if kind in MADE else None
        where = 1 if kind in VIEWS else 0
        found = list(values)
        sizes = found[where] if place is not None else None
        if isinstance(sizes, list) and len(sizes) > (place or 0) and _is_one(sizes[place or 0]):
            found[where] = [batch if index == place else size for index, size in enumerate(sizes)]
        return found


def recurrence(
    kind: str, values: Sequence[Any], result: Any
) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """The state that a recurrent layer took, the one that it gave, and where both have the batch."""
    taken = values[1] if isinstance(values[1], list | tuple) else [values[1]]
    results = result if isinstance(result, list | tuple) else [result]
    return list(taken), list(results[-len(taken) :]), RECURRENT[kind]


def require_one_batch(kind: str, values: Sequence[Any]) -> None:
    """Raise RuntimeError for a state of another batch than the input's: kernels read beyond its end then."""
    state = values[1] if isinstance(values[1], list | tuple) else [values[1]]
    batch_first = RECURRENT[kind] == 1 and values[-1] is True
    place = 1 if RECURRENT[kind] == 1 and not batch_first else 0
    for value in state:
        if value.dim() > RECURRENT[kind] and value.shape[RECURRENT[kind]] != values[0].shape[place]:
            raise RuntimeError(
                f"the state of a recurrent layer is {list(value.shape)}, its input {list(values[0].shape)}"
            )


def _is_one(size: Any) -> bool:
    return type(size) is int and size == 1
