"""What depends on constants only is computed by the operators themselves, once, at build time."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from grandopt.compiler.backends.native.batch import at_batch
from grandopt.compiler.backends.native.operators.registry import ConditionError

EMPTY = ("empty", "new_empty")
BATCHES = (1, 3)
"""Constants are computed for both: what is made for a batch must be the same for each of its samples."""


class Constants:
    """Results of nodes, as torch gives them for one sample, and for several where that is something else."""

    def __init__(self) -> None:
        self._held: dict[Node, tuple[Any, ...]] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._held

    def hold(self, node: Node, tensor: torch.Tensor) -> None:
        """A weight or buffer."""
        self._held[node] = (tensor,) * len(BATCHES)

    def pick(self, node: Node, source: Node, index: int) -> None:
        """One of several results."""
        self._held[node] = tuple(results[index] for results in self._held[source])

    def fold(self, node: Node) -> None:
        """Run the operator of a node whose tensors are all held."""
        sources = node.all_input_nodes
        varies = any(s not in self._held or self._held[s][0] is not self._held[s][1] for s in sources)
        results = [self._run(node, place) for place in range(len(BATCHES) if varies else 1)]
        self._held[node] = tuple(results) if varies else (results[0],) * len(BATCHES)

    def _run(self, node: Node, place: int) -> Any:
        def concrete(source: Node) -> Any:
            held = self._held.get(source)
            return at_batch(source.meta["val"], BATCHES[place]) if held is None else held[place]

        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), concrete)
        result = node.target(*args, **kwargs)  # type: ignore[operator]
        # What nobody has written yet is read by nobody, so that it may as well be zero.
        return torch.zeros_like(result) if _name(node).startswith(EMPTY) else result

    def own_row(self, node: Node) -> torch.Tensor | None:
        """For the samples' own numbers (`torch.arange(len(batch))`): that of the only one; else None."""
        one, several = self._held[node]
        if not isinstance(one, torch.Tensor) or one.shape == several.shape or several.numel() != BATCHES[1]:
            return None
        counted = torch.equal(several.reshape(-1), torch.arange(BATCHES[1], dtype=several.dtype))
        return one if counted and one.numel() == 1 else None

    def of_all_samples(self, node: Node) -> torch.Tensor:
        """The result for one sample; raises ConditionError where other samples of a batch have another."""
        one, several = self._held[node]
        if not isinstance(one, torch.Tensor):
            raise ConditionError(f"on what {node.name} gives")
        if one is several:
            return one
        whole = one.expand_as(several) if _grown(one, several) else one
        if whole.shape != several.shape or not torch.allclose(whole, several, equal_nan=True):
            raise ConditionError(f"on {node.name}, which is not the same for all samples of a batch,")
        return one


def _name(node: Node) -> str:
    return str(node.target).removeprefix("aten.")


def _grown(one: torch.Tensor, several: torch.Tensor) -> bool:
    """Whether the second is the first with more of the batch."""
    pairs = zip(one.shape, several.shape, strict=False)
    return one.dim() == several.dim() and all(a in (1, b) for a, b in pairs)
