"""The tensors of a checkpoint: their digest, their sanity, and the state in which a module is handed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.folder import sha256
from grandopt.errors import CheckpointError
from grandopt.private import told, told_path

READ_DTYPES = """
    bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64
    complex128
"""
ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


def source(path: Path, file_format: str, **details: Any) -> Source:
    """The provenance of an agent read from `path`, a file or a folder.

    `details` are kept as they are and must be JSON-able.
    """
    return Source(
        format=file_format,
        path=told_path(path),
        sha256=sha256(path),
        weights="file",
        details=told(details),
    )


def require_plain(name: str, tensor: torch.Tensor, where: str) -> None:
    """Raise CheckpointError for a tensor that is none of plain numbers in memory, saying what it is."""
    kind = str(tensor.dtype).removeprefix("torch.")
    problem = None
    if tensor.is_nested or tensor.layout != torch.strided:
        layout = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        problem = f"is {layout}; save it after to_dense()"
    elif tensor.is_quantized:
        problem = f"is quantized ({kind}); save it after dequantize()"
    elif tensor.device.type != "cpu":
        problem = f"has no values that can be read here (device {tensor.device.type})"
    elif kind not in READ_DTYPES.split():
        problem = f"is of the dtype {kind}, which no engine computes with; save it as float32"
    if problem is not None:
        raise CheckpointError(f"{where}: tensor {name!r} {problem}")


def require_finite(tensors: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raise CheckpointError naming the first tensor that holds NaN or inf."""
    for name, tensor in tensors:
        require_plain(name, tensor, where)
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
        require_plain(name, tensor, where)
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            raise CheckpointError(f"{where}: tensor {name!r} {list(tensor.shape)} holds NaN")


def require_sane(module: torch.nn.Module, where: str) -> None:
    """Raise CheckpointError naming the first parameter with NaN or inf, or the first buffer with NaN."""
    require_finite(module.named_parameters(), where)
    require_numbers(module.named_buffers(), where)


def ready(module: ModuleT) -> ModuleT:
    """The same module as loaders hand it on: eval mode, on the CPU, without gradients, its dtypes kept."""
    module.eval()
    module.to(device="cpu")
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
