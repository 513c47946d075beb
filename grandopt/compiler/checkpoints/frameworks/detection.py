"""Which framework wrote a checkpoint: exactly one, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.frameworks import cleanrl, rl_games, rsl_rl, skrl
from grandopt.compiler.checkpoints.frameworks.base import Framework
from grandopt.compiler.checkpoints.frameworks.d3rlpy import agent as d3rlpy
from grandopt.compiler.checkpoints.frameworks.sample_factory import agent as sample_factory
from grandopt.compiler.checkpoints.frameworks.tianshou import agent as tianshou
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.compiler.checkpoints.weight_files import state_dict
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

MEMBERS: tuple[Framework, ...] = (rsl_rl, rl_games, skrl, cleanrl, tianshou, sample_factory, d3rlpy)
"""Those whose checkpoints are files of torch."""

NONE = "none"
"""What `framework:` says to have a file read as the state dict that it holds."""

SETTINGS = ("activation", "statistics", "bounds", "distribution", "inputs", "fix")
"""The fields of AgentConfig that some frameworks heed, each as its TAKES says."""

PLAIN_ONLY = ("key", "network", "network_args", "outputs", "state", "stepwise")
"""Fields that no framework heeds: they describe a network that the user brings."""


def chosen(
    agent: AgentConfig, path: Path, content: Any, members: Sequence[Framework] = MEMBERS
) -> Framework | None:
    """The framework that reads `content` for `agent`; None where it is to be read as a plain state dict.

    That is the case where no framework recognises it, where `framework: none` was said, and where a `network`
    or a `key` was given without a framework. Raises CheckpointError where two recognise it and none was
    named, and for a name that is unknown or does not recognise it.
    """
    if agent.framework == NONE or (agent.framework is None and (agent.network or agent.key)):
        return None
    fitting = [member for member in members if member.recognises(content)]
    if agent.framework is None:
        if len(fitting) > 1:
            raise CheckpointError(f"{path}: {_ambiguous(fitting)}; say which with --framework NAME")
        return fitting[0] if fitting else None
    named = next((member for member in fitting if agent.framework == member.NAME), None)
    if named is None:
        found = (
            f", but of {fitting[0].NAME}" if fitting else f" (known: {', '.join(_names(members))}, {NONE})"
        )
        raise CheckpointError(
            f"{path}: 'framework' cannot be used with a file that is no checkpoint of "
            f"{agent.framework!r}{found}; remove it"
        )
    return named


def load(name: str, agent: AgentConfig, path: Path, content: Any, member: Framework) -> Checkpoint:
    """The agent as `member` rebuilds it; raises CheckpointError for a setting that it has no use for too."""
    what = f"a checkpoint of {member.TITLE}"
    unused = [field for field in SETTINGS if field not in member.TAKES]
    refuse(agent, path, what, PLAIN_ONLY, "whose network follows from its keys")
    refuse(agent, path, what, unused, "which says that itself or has no use for it")
    refuse(agent, path, what, ("vecnormalize",), "observation statistics belong to an SB3 zip")
    _require_plain(content, path)
    return member.load(name, agent, path, content)


def describe(path: Path, content: Any, members: Sequence[Framework] = MEMBERS) -> dict[str, Any] | None:
    """What the framework that wrote the file says of it; None where none recognises it.

    Where two do, `fits` names them, and the rest is left to whoever reads the file as a state dict.
    """
    fitting = [member for member in members if member.recognises(content)]
    if len(fitting) != 1:
        return {"fits": _names(fitting), "asks": ["--framework NAME"]} if fitting else None
    (member,) = fitting
    _require_plain(content, path)
    return {"format": member.NAME, "framework": member.TITLE, **member.describe(path, content)}


def _require_plain(content: Any, path: Path) -> None:
    """Raise CheckpointError for a tensor in a state dict that is none of plain real numbers in memory."""
    for place, tensors in state_dict.places(content):
        for key, tensor in tensors.items():
            name = f"{place}.{key}".removeprefix(".")
            weights.require_plain(name, tensor, str(path))
            if tensor.is_complex():  # of which a cast would leave a part
                raise CheckpointError(f"{path}: tensor {name!r:.80} is complex, and no framework writes such")


def _ambiguous(fitting: Sequence[Framework]) -> str:
    return f"may be a checkpoint of {' or of '.join(_names(fitting))}"


def _names(members: Sequence[Framework]) -> list[str]:
    return [member.NAME for member in members]
