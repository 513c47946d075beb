"""What nothing but a framework writes: files of Flax, and the folders of Brax and LeRobot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks import detection
from grandopt.compiler.checkpoints.frameworks.base import Framework
from grandopt.compiler.checkpoints.frameworks.brax import agent as brax
from grandopt.compiler.checkpoints.frameworks.flax import agent as flax
from grandopt.compiler.checkpoints.frameworks.flax import packed
from grandopt.compiler.checkpoints.frameworks.lerobot import agent as lerobot
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

MEMBERS: tuple[Framework, ...] = (flax, brax, lerobot)


def load(name: str, agent: AgentConfig, path: Path) -> Checkpoint:
    """The agent `name` of the file or folder at `path`, by the framework that wrote it.

    Raises CheckpointError where it is damaged, where two frameworks may have written it and none was named,
    and for a setting that says nothing about it.
    """
    content = _content(path)
    unread = agent.model_copy(update={"network": None, "key": None})  # which `load` refuses by name
    member = detection.chosen(unread, path, content, MEMBERS)
    if member is None and agent.framework is not None:
        raise CheckpointError(f"{path}: 'framework' cannot be used with it as {agent.framework!r}; remove it")
    if member is None:
        raise _without_layers(path)
    return detection.load(name, agent, path, content, member)


def describe(path: Path) -> dict[str, Any]:
    """What the framework says of the file or folder; raises CheckpointError where it is damaged."""
    content = _content(path)
    said = detection.describe(path, content, MEMBERS)
    if said is None:
        raise _without_layers(path)
    return {"format": "folder", **said}


def _content(path: Path) -> Any:
    """What the members are asked about: a folder, or the tree in a file."""
    return Folder(path) if path.is_dir() else packed.tree(files.content(path), str(path))


def _without_layers(path: Path) -> CheckpointError:
    titles = " or ".join(member.TITLE for member in MEMBERS)
    return CheckpointError(f"{path}: is no agent of {titles}: there are no layers in it")
