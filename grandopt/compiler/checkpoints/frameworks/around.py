"""What an environment's wrapper does to observations before the policy sees them, given by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from grandopt.compiler.checkpoints.base import FoundStatistics
from grandopt.compiler.checkpoints.frameworks import statistics_file
from grandopt.compiler.checkpoints.frameworks.base import OBSERVATION
from grandopt.compiler.checkpoints.sb3.observations import Normalise
from grandopt.compiler.checkpoints.sb3.statistics import Normalisation, Statistics
from grandopt.signature import Contract, Moments


@dataclass(frozen=True)
class Wrapper:
    """A wrapper's name, and its `clip((x - mean) / sqrt(var + epsilon), -clip, clip)`, in float64."""

    name: str
    epsilon: float
    clip: float


@dataclass(frozen=True)
class Around:
    """The steps before the network, and what a report says of them."""

    steps: tuple[nn.Module, ...] = ()
    clip: float | None = None
    statistics: tuple[FoundStatistics, ...] = ()
    moments: Mapping[str, Moments] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def contract(self, contract: Contract) -> Contract:
        """The contract of a policy behind these steps."""
        return replace(contract, normalised=True, clip_obs=self.clip) if self.steps else contract


def around(given: Path | str | None, elements: int, wrapper: Wrapper) -> Around:
    """What stands before a policy that observes `elements` numbers, by `statistics` as the user gave them.

    Nothing where none were given; "none" is reported as what was said. Raises CheckpointError for a file that
    holds no such statistics.
    """
    if given is None:
        return Around()
    if not isinstance(given, Path):
        said = FoundStatistics("not in the file", wrapper.name, used=False, reason="'statistics: none'")
        return Around(statistics=(said,))
    read = statistics_file.read(given, (elements,))
    epsilon, clip = read.epsilon or wrapper.epsilon, read.clip or wrapper.clip
    held = Statistics(read.mean.numpy(), read.var.numpy())
    return Around(
        (Normalise(held, epsilon, clip),),
        clip,
        (FoundStatistics(str(given), wrapper.name, used=True),),
        Normalisation({None: held}, epsilon, clip).moments(OBSERVATION),
        read.details(),
    )
