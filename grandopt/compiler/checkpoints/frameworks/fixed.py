"""Arguments of a framework's own classes that its checkpoints do not hold, given as `fix: {name: value}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError


def require_known(agent: AgentConfig, path: Path, what: str, names: Iterable[str]) -> None:
    """Raise CheckpointError for an argument in `agent.fix` that `what` has no use for; it has for `names`."""
    known = tuple(names)
    for name in agent.fix:
        if name not in known:
            instead = f"; it takes {', '.join(known)}" if known else ""
            raise CheckpointError(
                f"{path}: 'fix' gives {name!r:.60}, which {what} has no use for{instead}; remove it"
            )


def number(agent: AgentConfig, path: Path, name: str) -> float | None:
    """The positive number given for `name`; None where none was. Raises CheckpointError for anything else."""
    given = agent.fix.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise CheckpointError(f"{path}: 'fix' gives {name}={given!r:.60}; it must be a positive number")
    return float(given)


def flag(agent: AgentConfig, path: Path, name: str) -> bool | None:
    """Whether `name` was said to be true; None where nothing was said.

    Raises CheckpointError for anything but true and false.
    """
    given = agent.fix.get(name)
    if given is not None and not isinstance(given, bool):
        raise CheckpointError(f"{path}: 'fix' gives {name}={given!r:.60}; it must be true or false")
    return given


def word(agent: AgentConfig, path: Path, name: str, words: Sequence[str]) -> str | None:
    """Which of `words` was given for `name`; None where none was. Raises CheckpointError for another."""
    given = agent.fix.get(name)
    if given is not None and given not in words:
        raise CheckpointError(f"{path}: 'fix' gives {name}={given!r:.60}; it must be {' or '.join(words)}")
    return None if given is None else str(given)


def missing(path: Path, what: str, options: Sequence[str]) -> CheckpointError:
    """The error of a checkpoint that lacks `what`, which `options` give."""
    return CheckpointError(f"{path}: the file does not say {what}; give it with {' '.join(options)}")
