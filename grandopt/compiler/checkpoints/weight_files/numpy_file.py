"""Weights in NumPy's own files: `.npz`, and `.npy` with a pickled dict of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from grandopt import npy
from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.vetting import arrays, zip_archive
from grandopt.compiler.checkpoints.weight_files import numpy_pickle, state_dict, torch_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError, first_line

FORMAT = "numpy"
SUFFIX = ".npy"


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The configured network with the arrays of the file for its weights.

    Raises CheckpointError and UntrustedError like `read`, and like the loader of state dicts.
    """
    return state_dict.load(name, agent, read(files.checkpoint_path(agent)), FORMAT)


def describe(path: Path) -> dict[str, Any]:
    """The arrays in the file, as the reader of state dicts describes them."""
    return {**state_dict.describe(path, read(path)), "format": FORMAT}


def read(path: Path) -> dict[str, Any]:
    """The arrays of the file as tensors, by their names.

    Raises CheckpointError for a damaged file, for one beyond the limits, and for one that holds no arrays by
    name; UntrustedError for objects that are no arrays of numbers. Nothing is unpickled.
    """
    data = files.content(path)
    if data.startswith(npy.MAGIC):
        found = _member(data, str(path))
        if isinstance(found, dict):
            return found
        raise CheckpointError(
            f"{path}: holds a single array, without a name; save the weights by name with numpy.savez"
        )
    archive = zip_archive.from_bytes(data, str(path))
    return {
        name.removesuffix(SUFFIX): _member(archive.read(name), f"{path}: array {name.removesuffix(SUFFIX)!r}")
        for name in archive.names
    }


def _member(data: bytes, where: str) -> torch.Tensor | Any:
    """What one `.npy` holds: a tensor, or what was pickled into it."""
    try:
        dtype, shape, place = npy.head(data)
        if not dtype.hasobject:
            return _tensor(npy.array(data), where)
    except npy.DAMAGED as error:
        raise CheckpointError(f"{where}: is damaged: {first_line(error)}") from error
    found = torch_file.contents(data[place:])
    if found.greedy is not None:
        raise CheckpointError(f"{where}: the pickle in it {found.greedy}; it is not read")
    if shape != () or not numpy_pickle.holds_arrays(found):
        raise UntrustedError(
            f"{where}: holds objects that would have to be unpickled, which runs code that the file names; "
            f"save arrays of numbers by name with numpy.savez"
        )
    return numpy_pickle.read(data[place:], where)


def _tensor(array: npy.Array, where: str) -> torch.Tensor:
    if array.dtype.kind not in arrays.NUMBER_KINDS:
        raise CheckpointError(f"{where}: is of dtype {array.dtype}, which is none of numbers")
    return arrays.tensor(array)
