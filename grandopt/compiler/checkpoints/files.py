"""The file of a checkpoint, opened and read within the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from grandopt import limits
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

ResultT = TypeVar("ResultT")


def checkpoint_path(agent: AgentConfig) -> Path:
    """The file of an agent that was configured with `checkpoint`; raises CheckpointError without one."""
    if agent.checkpoint is None:
        raise CheckpointError("the agent has no 'checkpoint'; give the path of its file")
    return agent.checkpoint


def content(path: Path, largest: int = limits.CHECKPOINT_BYTES) -> bytes:
    """The bytes of the regular file at `path`, at most `largest`.

    Raises CheckpointError, in one line, when it is none, or larger.
    """
    return _with(path, lambda path: limits.content(path, largest))


def head(path: Path, length: int) -> tuple[bytes, int]:
    """The first bytes of the file, and its size; raises CheckpointError like `content`."""
    return _with(path, lambda path: _head(path, length))


def sha256(path: Path) -> str:
    """SHA-256 (hex) of the file's bytes; raises CheckpointError like `content`."""
    return hashlib.sha256(content(path)).hexdigest()


def _head(path: Path, length: int) -> tuple[bytes, int]:
    with limits.opened(path, limits.CHECKPOINT_BYTES) as file:
        return file.read(length), file.seek(0, 2)


def _with(path: Path, done: Callable[[Path], ResultT]) -> ResultT:
    shown = limits.shortened(path)
    try:
        return done(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{shown}: no such file") from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{shown}: is a folder; give the path of a checkpoint file in it") from error
    except OSError as error:
        raise CheckpointError(f"{shown}: cannot be read ({error.strerror})") from error
