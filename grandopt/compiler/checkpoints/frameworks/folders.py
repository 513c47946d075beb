"""Which folders are one agent as a whole, told by their files without torch."""

from __future__ import annotations

from pathlib import Path

from grandopt.compiler.checkpoints.folder import Folder
from grandopt.compiler.checkpoints.frameworks.lerobot import config as lerobot
from grandopt.errors import CheckpointError

BRAX_CONFIG = "_network_config.json"
"""What the name of the file ends with that says how Brax's network is made, behind its algorithm."""


def is_agent(path: Path) -> bool:
    """Whether `path` is a folder that is an agent of Brax or LeRobot, if only a damaged one."""
    try:
        if not path.is_dir():
            return False
        folder = Folder(path)
    except (OSError, CheckpointError):  # a name that the system cannot look up
        return False
    return brax_config(folder) is not None or is_lerobot(folder)


def brax_config(folder: Folder) -> str | None:
    """The name of the file with which Brax says how a network is made; None for another folder."""
    return next((name for name in folder.names if name.endswith(BRAX_CONFIG) and "/" not in name), None)


def is_lerobot(folder: Folder) -> bool:
    """Whether it has the configuration of one of LeRobot's policies, whichever."""
    try:
        return lerobot.CONFIG in folder and lerobot.is_config(folder.document(lerobot.CONFIG))
    except CheckpointError:
        return False
