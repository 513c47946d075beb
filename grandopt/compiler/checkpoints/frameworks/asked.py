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
ACTIVATIONS_ASKED = f"{ACTIVATION}, or NAME,NAME with what stands behind the last"
DISTRIBUTION = "--distribution none|gaussian|beta: what the numbers of the last layer are"
"""For `asks`."""


def missing(settings: RunSettings, *places: Sequence[str], ask: str = ACTIVATION) -> list[str]:
    """`ask` in a list where the settings of the run have nothing at any of `places`."""
    return [] if any(settings.text(*place) for place in places) else [ask]


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
    said = next(filter(None, (settings.text(*place) for place in places)), None)
    return _named(agent.activation or said, path, settings, own)


def activations(
    agent: AgentConfig,
    path: Path,
    settings: RunSettings,
    between: str | None,
    last: str | None,
    own: Mapping[str, str] | None = None,
) -> tuple[str, type[nn.Module], nn.Module | None]:
    """Like `activation`, for a framework that can also have one behind the last layer.

    `between` and `last` are what the settings of the run have; `agent.activation` replaces both, and reads
    "HIDDEN" or "HIDDEN,OUTPUT". Gives the names as one text, the class of the first, and the other as a
    module, None where there is none.
    """
    if agent.activation is not None:
        between, _, last = agent.activation.partition(",")
    hidden, kind = _named(between, path, settings, own)
    if not last:
        return hidden, kind, None
    behind, behind_kind = _named(last, path, settings, own)
    return (hidden, kind, None) if behind == "identity" else (f"{hidden},{behind}", kind, behind_kind())


def _named(
    given: str | None, path: Path, settings: RunSettings, own: Mapping[str, str] | None
) -> tuple[str, type[nn.Module]]:
    """Name and class of the activation that `given` names."""
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
