"""Statistics of observations that a user gives because the checkpoint lacks them: an .npz of arrays."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grandopt import limits
from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.vetting import zip_archive
from grandopt.errors import CheckpointError, first_line

ADVICE = (
    "write one with numpy.savez(FILE, mean=…, var=…), and epsilon=… and clip=… where they are not the usual"
)

DAMAGED = (
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)
"""What NumPy is seen to raise on damaged arrays."""

_HEADERS: dict[tuple[int, int], Callable[[io.BytesIO], tuple[tuple[int, ...], bool, Any]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By the version of the format; only names of fields need a later one."""


@dataclass(frozen=True)
class GivenStatistics:
    """Mean and variance of one observation, float64 [*shape] each; `epsilon` and `clip` if given."""

    path: Path
    mean: torch.Tensor
    var: torch.Tensor
    epsilon: float | None
    clip: float | None

    def details(self) -> dict[str, Any]:
        """For the source of an agent: the file that they are from."""
        return {"statistics": {"path": str(self.path), "sha256": files.sha256(self.path)}}


def read(path: Path, shape: tuple[int, ...]) -> GivenStatistics:
    """The statistics in `path` of observations of `shape`.

    Nothing is unpickled. Raises CheckpointError, which begins with the path, for a file that is missing or no
    .npz, and for arrays that are missing, of another shape, not of finite numbers, or a negative variance.
    """
    if path.is_file() and path.stat().st_size > limits.STATISTICS_BYTES:
        raise CheckpointError(f"{path}: holds more than {limits.STATISTICS_BYTES:,} bytes; it is not read")
    if not files.head(path, 2)[0].startswith(zip_archive.MAGIC):
        raise CheckpointError(f"{path}: is no .npz file; {ADVICE}")
    archive = zip_archive.opened(path)
    mean, var = (_array(archive, name, shape) for name in ("mean", "var"))
    if bool((var < 0).any()):
        raise CheckpointError(f"{path}: 'var' holds a negative number; it must be the variance")
    epsilon, clip = (_number(archive, name) for name in ("epsilon", "clip"))
    return GivenStatistics(path, torch.from_numpy(mean), torch.from_numpy(var), epsilon, clip)


def _number(archive: zip_archive.ZipArchive, name: str) -> float | None:
    """The positive number `name`; None where the file has none."""
    if f"{name}.npy" not in archive.names:
        return None
    value = float(_array(archive, name, ()))
    if value <= 0:
        raise CheckpointError(f"{archive.where}: {name!r} must be a positive number, is {value:g}")
    return value


def _array(archive: zip_archive.ZipArchive, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    member = f"{name}.npy"
    if member not in archive.names:
        held = ", ".join(item.removesuffix(".npy") for item in archive.names[:5])
        raise CheckpointError(f"{archive.where}: has no array {name!r} (it holds {held or 'none'}); {ADVICE}")
    data = io.BytesIO(archive.read(member))
    try:
        header = _HEADERS[np.lib.format.read_magic(data)]
        found, fortran, dtype = header(data)
        # Many trainers keep a batch of 1 in front.
        if found not in (shape, (1, *shape)) or fortran or dtype.kind not in "fiu":
            raise CheckpointError(
                f"{archive.where}: array {name!r} is {dtype} {list(found)}; it must hold numbers of the "
                f"observation's shape {list(shape)}"
            )
        array = np.frombuffer(data.read(), dtype).reshape(shape).astype(np.float64)
    except DAMAGED as error:
        raise CheckpointError(
            f"{archive.where}: array {name!r} cannot be read: {first_line(error)}"
        ) from error
    if not np.isfinite(array).all():
        raise CheckpointError(f"{archive.where}: array {name!r} holds NaN or inf")
    return array
