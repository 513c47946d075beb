"""What a checkpoint does not hold and a user has to say, or a settings file beside it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.frameworks.run_settings import RunSettings
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

ACTIVATION = "--activation NAME: what stands between the layers"
DISTRIBUTION = "--distribution none|gaussian|beta: what the numbers of the last layer are"
"""For `asks`."""


def missing_activation(settings: RunSettings, *places: Sequence[str]) -> list[str]:
    """What to ask for where the settings of the run have no activation at any of `places`."""
    return [] if any(settings.text(*place) for place in places) else [ACTIVATION]


def activation(
    agent: AgentConfig,
    path: Path,
    settings: RunSettings,
    *places: Sequence[str],
    own: Mapping[str, str] | None = None,
) -> tuple[str, type[nn.Module]]:
    """Name and class of the activation between the layers: `agent.activation`, else what the settings of the
    run have at the first of `places`.

    `own` translates the framework's names into those of `ACTIVATIONS`, where they differ. Raises
    CheckpointError where neither says one, and for one that is not known.
    """
    given = agent.activation or next(filter(None, (settings.text(*place) for place in places)), None)
    known = ", ".join(ACTIVATIONS)
    if given is None:
        raise CheckpointError(
            f"{path}: neither the file nor settings beside it say which activation stands between the layers"
            f"{settings.unread()}; give it with --activation NAME (`activation:` in grandopt.yaml): {known}"
        )
    name = (own or {}).get(given.lower(), given.lower())
    if name not in ACTIVATIONS:
        raise CheckpointError(f"{path}: activation {given!r:.60} is not known here; known are {known}")
    return name, ACTIVATIONS[name]
