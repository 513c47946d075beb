"""Blocks shown as tensors of torch: the one file of the memory parts that imports it."""

from __future__ import annotations

from typing import Any

import torch

from grandopt.errors import MemoryPoolError, first_line
from grandopt.runtime.memory.blocks.base import Blocks
from grandopt.runtime.memory.blocks.host import HostBlock, HostBlocks

_DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
        *("complex64", "complex128"),
    )
}
KNOWN = tuple(sorted(_DTYPES))


class TensorBlocks(HostBlocks[torch.Tensor]):
    """Contiguous tensors on the CPU, without gradients."""

    kind = "tensor"

    def item_bytes(self, dtype: str) -> int:
        return _itemsize(self, dtype)

    def show(self, block: HostBlock, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._stretch(block, dtype, shape)).view(_DTYPES[dtype]).view(shape)

    def end(self, value: torch.Tensor) -> None:
        """Nothing: torch has no tensors that cannot be written to. The pool waits for the tensor's end."""

    def fresh(self, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=_DTYPES[dtype])

    def write(self, value: torch.Tensor) -> None:
        value.numpy().fill(1)  # on this thread, while `fill_` would wake others


class DeviceTensorBlocks(Blocks[torch.Tensor]):
    """Contiguous tensors on another device than the CPU, such as "cuda:0".

    torch has a caching allocator of its own there, so that a pool seldom pays; the measurement says so.
    Raises MemoryPoolError when this torch has no such device.
    """

    kind = "tensor"

    def __init__(self, device: str) -> None:
        self.device = device
        try:
            probe = torch.empty(1, dtype=torch.uint8, device=device)
        except (RuntimeError, AssertionError) as error:  # the latter: torch compiled without CUDA
            raise MemoryPoolError(f"no pool on device {device!r}: {first_line(error)}") from error
        self._alone = _uses(probe)

    def item_bytes(self, dtype: str) -> int:
        return _itemsize(self, dtype)

    def allocate(self, size: int) -> torch.Tensor:
        try:
            return torch.empty(size, dtype=torch.uint8, device=self.device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise MemoryPoolError(f"{self.device} has no {size} bytes: {first_line(error)}") from error

    def show(self, block: torch.Tensor, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        kind = _DTYPES[dtype]
        count = torch.Size(shape).numel() * kind.itemsize
        return block[:count].view(kind).view(shape)

    def end(self, value: torch.Tensor) -> None:
        """Nothing: torch has no tensors that cannot be written to. The pool waits for the tensor's end."""

    def is_seen(self, block: torch.Tensor) -> bool:
        return _uses(block) > self._alone

    def fill(self, block: torch.Tensor, byte: int) -> None:
        block.fill_(byte)

    def holds_only(self, block: torch.Tensor, byte: int) -> bool:
        return bool((block == byte).all())

    def fresh(self, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=_DTYPES[dtype], device=self.device)

    def write(self, value: torch.Tensor) -> None:
        value.fill_(1)
        if value.is_cuda:
            torch.cuda.synchronize(value.device)


def tensor_blocks(device: str = "cpu") -> Blocks[torch.Tensor]:
    """Where a pool of tensors on `device` gets its memory; raises MemoryPoolError for a device not there."""
    return TensorBlocks() if device == "cpu" else DeviceTensorBlocks(device)


def _itemsize(blocks: Blocks[torch.Tensor], dtype: str) -> int:
    if dtype not in _DTYPES:
        raise blocks._unknown(dtype, KNOWN)
    size: int = _DTYPES[dtype].itemsize
    return size


def _uses(tensor: torch.Tensor) -> int:
    """How many tensors share the storage; torch has no public name for it, its own CUDA graphs use this."""
    storage: Any = tensor.untyped_storage()
    uses: int = torch._C._storage_Use_Count(storage._cdata)
    return uses
