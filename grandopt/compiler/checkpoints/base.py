"""What every checkpoint loader returns.

A format is a module with FORMAT, its name, `load(name, agent) -> Checkpoint`, and `describe`, which tells
what is in the file in a form that JSON has. `detect` chooses it by the content, never by the suffix.

Thread safety: one thread at a time, because loading may make the current folder importable for a while.
Ownership: the caller owns the checkpoint, which shares nothing with another of the same file; the file is
read and closed, never written to, and nothing is put beside it.

`describe` runs no network and, without trust, nothing that the file names; `load` tries the network on inputs
drawn here. Both raise CheckpointError for what is no whole file of the format, `load` also for weights
with NaN or inf and, by its name, for a setting that says nothing about the format. Each is one line that
begins with the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from grandopt.artifacts.manifest import Source
from grandopt.signature import Contract, Moments, Role, Signature, TensorSpec


@dataclass(frozen=True)
class FoundStatistics:
    """Normalisation statistics that were found with an agent: where, of what kind, and whether they are used.

    `reason` says why not, and what to do if they should be. An agent without statistics that it was trained
    with is another agent, so that none that was found may go unmentioned.
    """

    place: str
    kind: str
    used: bool
    reason: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """An agent as it was found.

    `module` is in eval mode, on the CPU, its parameters without gradients; it takes the tensors of `inputs`
    with a batch in front and returns a tensor or a tuple of tensors. `output_names` and `output_roles` may
    be empty: capture then numbers the outputs, and takes the first for the action if the contract has one.
    For an agent whose output is a decision (arg max, bits), `scores` maps the same inputs to the scores
    [B, n] that the decision is taken from, sharing the weights of `module`. `exported` is set when the file
    already held a `torch.export` program. `moments` holds the statistics of observations that the
    agent carries and normalises with, by input; `statistics` names all that were found, used or not.
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
    statistics: tuple[FoundStatistics, ...] = ()
    moments: Mapping[str, Moments] = field(default_factory=dict)

    @property
    def observed(self) -> Signature:
        """The inputs that recorded observations are of: all but the recurrent state."""
        return Signature(Signature(self.inputs).observed(self.contract))
