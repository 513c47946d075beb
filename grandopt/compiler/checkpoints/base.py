"""What every checkpoint loader returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from grandopt.artifacts.manifest import Source
from grandopt.signature import Contract, Role, Signature, TensorSpec


@dataclass(frozen=True)
class Checkpoint:
    """An agent as it was found.

    `module` is in eval mode, on the CPU, its parameters without gradients; it takes the tensors of `inputs`
    with a batch in front and returns a tensor or a tuple of tensors. `output_names` and `output_roles` may
    be empty: capture then numbers the outputs, and takes the first for the action if the contract has one.
    For an agent whose output is a decision (arg max, bits), `scores` maps the same inputs to the scores
    [B, n] that the decision is taken from, sharing the weights of `module`. `exported` is set when the file
    already held a `torch.export` program.
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    source: Source
    contract: Contract = field(default_factory=Contract)
    output_names: tuple[str, ...] = ()
    output_roles: tuple[Role, ...] = ()
    scores: torch.nn.Module | None = None
    exported: torch.export.ExportedProgram | None = None

    @property
    def observed(self) -> Signature:
        """The inputs that recorded observations are of: all but the recurrent state."""
        return Signature(Signature(self.inputs).observed(self.contract))
