"""The checkpoints that a command line names: files, and folders full of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from grandopt.errors import CheckpointError, ConfigError, UnknownFormatError

MOST_FILES = 1000
"""What is looked at in one folder."""

WEIGHT = re.compile(r"weight|kernel|bias", re.IGNORECASE)
"""In the name of an array that is a weight."""

SUFFIXES = frozenset(
    (".pt", ".pth", ".pt2", ".ckpt", ".zip", ".safetensors", ".onnx", ".npz", ".npy", ".pkl", ".d3",
     ".cleanrl_model", ".msgpack")
)  # fmt: skip
"""What checkpoints are called, mostly: an empty file that is called so has lost what was in it."""


def found(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints that `paths` name, a folder standing for those in it, in the order of their names.

    A folder that is one agent is that agent. In any other, files of no known format, hidden ones, folders
    that are no agents, `.npz` files in whose names there is no weight (recorded observations, mostly) and
    empty files that are not called like checkpoints are passed over; damaged files are not. Raises
    ConfigError for a folder without checkpoints, and for one with more than MOST_FILES entries.
    """
    return [path for given in paths for path in _found(given)]


def _found(path: Path) -> Iterator[Path]:
    if not path.is_dir() or _is_agent(path):
        yield path
        return
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    if len(entries) > MOST_FILES:
        raise ConfigError(
            f"{path}: holds {len(entries)} files and folders; at most {MOST_FILES} are looked at, so name "
            f"the checkpoints themselves"
        )
    kept = [entry for entry in entries if (_is_agent(entry) if entry.is_dir() else _may_be_agent(entry))]
    if not kept:
        raise ConfigError(f"{path}: is a folder that holds no checkpoint; name one that does, or a file")
    yield from kept


def _is_agent(folder: Path) -> bool:
    """Whether a folder is one agent as a whole."""
    from grandopt.compiler.checkpoints.detect import detect

    try:
        detect(folder)
    except CheckpointError:
        return False
    return True


def _may_be_agent(file: Path) -> bool:
    """Whether a file begins like a checkpoint, also one that turns out to be damaged."""
    from grandopt.compiler.checkpoints.detect import detect
    from grandopt.compiler.checkpoints.vetting import zip_archive

    if file.stat().st_size == 0:
        return file.suffix in SUFFIXES
    try:
        if detect(file) != "numpy" or file.suffix != ".npz":
            return True
        return any(WEIGHT.search(name) for name in zip_archive.opened(file).names)
    except UnknownFormatError:
        return False
    except CheckpointError:
        return True
