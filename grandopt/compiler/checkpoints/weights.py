"""The tensors of a checkpoint: their digest, their sanity, and the state in which a module is handed on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from grandopt.artifacts.manifest import Source
from grandopt.errors import CheckpointError

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; raises CheckpointError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def source(path: Path, file_format: str, **details: Any) -> Source:
    """The provenance of an agent read from `path`; `details` are kept as they are and must be JSON-able."""
    return Source(format=file_format, path=str(path), sha256=sha256(path), weights="file", details=details)


def require_finite(tensors: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raise CheckpointError naming the first tensor that holds NaN or inf."""
    for name, tensor in tensors:
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
            continue
        nans, infs = int(torch.isnan(tensor).sum()), int(torch.isinf(tensor).sum())
        raise CheckpointError(
            f"{where}: tensor {name!r} {list(tensor.shape)} holds {nans} NaN and {infs} inf; the agent's "
            f"training diverged, or the file is damaged"
        )


def require_numbers(tensors: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raise CheckpointError naming the first constant or buffer that holds NaN.

    Unlike in a weight, inf in a constant may be meant: attention masks are made of it.
    """
    for name, tensor in tensors:
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise CheckpointError(f"{where}: tensor {name!r} {list(tensor.shape)} holds NaN")


def require_sane(module: torch.nn.Module, where: str) -> None:
    """Raise CheckpointError naming the first parameter with NaN or inf, or the first buffer with NaN."""
    require_finite(module.named_parameters(), where)
    require_numbers(module.named_buffers(), where)


def ready(module: ModuleT) -> ModuleT:
    """The same module as every loader hands it on: eval mode, float32, on the CPU, without gradients."""
    module.eval()
    module.to(device="cpu", dtype=torch.float32)
    module.requires_grad_(False)
    return module


def listed(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """JSON-able description: `tensors` (name, shape, dtype) and the number of `parameters` in all of them."""
    return {
        "tensors": [
            {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
            for name, tensor in tensors.items()
        ],
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
    }
