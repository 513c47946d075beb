"""What a training framework's checkpoints are read by, and what a policy rebuilt from one consists of.

A framework is a module with the members of `Framework` below. `detection` asks each whether it recognises
what a file holds, and gives the file to the one that does. What comes out computes what the framework itself
takes for the deterministic action, from raw observations on: its normaliser, exactly as it computes it, its
network, and what it does to the action afterwards.

Content is what `weight_files.torch_file` reads, tensors in plain containers; for a format that is a folder,
what the member that reads it says. It comes from strangers: any part of it may be missing, of another kind or
another shape, and then `recognises` says no, while `describe` and `load` raise CheckpointError, one line that
begins with the path. Nothing that content names is imported or called, nothing in it is changed, and
`recognises` and `describe` run no network. A member keeps nothing between two calls; one thread at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn, require_bounded
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, named_line
from grandopt.signature import Contract, Moments, Role, StateTensor, TensorSpec

OBSERVATION = "obs"
ACTION = "action"
"""The input and the output of an agent whose framework gives them no names of their own."""

MEMORY = (StateTensor("h", "h_next"), StateTensor("c", "c_next"))
"""The recurrent state of a GRU (the first) and of an LSTM, [B, layers, hidden] each."""


class Framework(Protocol):
    """A module that reads one framework's checkpoints."""

    NAME: str
    """What `framework:` and `--framework` call it, and the format of the sources of its agents."""

    TITLE: str
    """What people call it."""

    TAKES: frozenset[str]
    """The fields of AgentConfig that it asks for or heeds; the others of `detection.SETTINGS` are refused."""

    def recognises(self, content: Any) -> bool:
        """Whether a file with this content can only be the framework's; looks at keys and shapes alone."""
        ...

    def describe(self, path: Path, content: Any) -> dict[str, Any]:
        """What is in the file, JSON-able: `recognised` in words, `asks`, which lists what has to be given as
        lines for people, `parameters` and `tensors` of the policy, and whatever else helps."""
        ...

    def load(self, name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
        """The agent `name`; raises CheckpointError where what the file lacks was not given."""
        ...


@dataclass(frozen=True)
class Policy:
    """A policy as a member rebuilt it: the fields of a `Checkpoint`, without what is the same for all.

    The first output of `module` is the action, those behind it are the next values of the state in
    `contract`. `details` go into the source of the agent, and so into report and manifest: what was
    recognised, what was given, and from which file beside the checkpoint something was taken.
    """

    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    contract: Contract
    details: Mapping[str, Any]
    scores: torch.nn.Module | None = None
    moments: Mapping[str, Moments] = field(default_factory=dict)
    statistics: tuple[FoundStatistics, ...] = ()


def checkpoint(name: str, framework: tuple[str, str], path: Path, policy: Policy) -> Checkpoint:
    """The agent `name` with the policy that a member rebuilt from the file at `path`, after one trial call.

    `framework` is the member's NAME and TITLE.

    Raises CheckpointError for tensors with NaN or inf, for layers that do not fit together, and for
    statistics of another size than the observation.
    """
    where = str(path)
    require_bounded(policy.inputs, where)
    for spec in policy.inputs:
        moments = policy.moments.get(spec.name)
        if moments is not None and len(moments.mean) != math.prod(spec.shape):  # one number would fit all
            raise CheckpointError(
                f"{where}: its statistics are of {len(moments.mean)} numbers, but {spec.name!r} has the "
                f"shape {list(spec.shape)}"
            )
    weights.require_finite(policy.module.named_parameters(), where)
    weights.require_finite(policy.module.named_buffers(), where)
    module = weights.ready(policy.module)
    try:
        with torch.no_grad():
            module(*drawn(policy.inputs, EXAMPLE_BATCH, seed=0))
    except RuntimeError as error:
        raise CheckpointError(f"{where}: the layers do not fit together: {named_line(error)}") from error
    states = [tensor.output for tensor in policy.contract.state]
    action: Role = "action"
    value: Role = "value"
    return Checkpoint(
        name=name,
        module=module,
        inputs=policy.inputs,
        source=weights.source(path, framework[0], framework=framework[1], **policy.details),
        contract=policy.contract,
        output_names=(ACTION, *states),
        output_roles=(action, *(value for _ in states)),
        scores=None if policy.scores is None else weights.ready(policy.scores),
        statistics=policy.statistics,
        moments=policy.moments,
    )
