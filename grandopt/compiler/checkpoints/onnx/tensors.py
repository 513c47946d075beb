"""The constants of an ONNX file as torch tensors, also those that lie in files beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from grandopt import limits
from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.onnx.document import Tensor
from grandopt.errors import CheckpointError

KINDS: dict[int, torch.dtype] = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
"""ONNX's number of each dtype that is computed with here."""

OTHERS = {
    4: "uint16", 8: "string", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}  # fmt: skip

MOST_AXES, LONGEST_AXIS = 32, 1 << 40

BITS = {torch.float16: np.uint16, torch.bfloat16: np.uint16}
"""Of these, a list of numbers holds the bits."""


def dtype(kind: int | None, what: str) -> torch.dtype:
    """The dtype of ONNX's number `kind`; raises CheckpointError, `what` in front, for any other."""
    if kind in KINDS:
        return KINDS[kind]
    name = OTHERS.get(kind or 0, f"number {kind}")
    raise CheckpointError(f"{what} is of the dtype {name}, which is not computed with here")


@dataclass
class Constants:
    """Reads the tensors of one file at `path`; those beside it are opened once, and only in its folder."""

    path: Path
    held: int
    _beside: dict[str, bytes] = field(default_factory=dict)
    _made: int = 0

    def again(self) -> Constants:
        """The same for another reading of the file."""
        return Constants(self.path, self.held, self._beside)

    def tensor(self, item: Tensor) -> torch.Tensor:
        """A copy of its values; raises CheckpointError when they are not all there, or of no known dtype."""
        what = f"{self.path}: tensor {item.name!r}"
        kind = dtype(item.kind, what)
        if len(item.shape) > MOST_AXES or any(not 0 <= size < LONGEST_AXIS for size in item.shape):
            raise CheckpointError(f"{what} has the shape {list(item.shape[:MOST_AXES])}, which is none")
        count = math.prod(item.shape)
        self._made += count * kind.itemsize
        if self._made > limits.REPETITION * self.held + limits.INFLATED_BYTES:
            raise CheckpointError(
                f"{what} and those before it claim {self._made:,} bytes, more than the file holds"
            )
        raw = self._external(item, what) if item.external is not None else item.raw
        values = self._listed(item, kind) if raw is None else _from_bytes(raw, kind, count)
        if values is None or values.numel() != count:
            found = 0 if values is None else values.numel()
            raise CheckpointError(
                f"{what} of the shape {list(item.shape)} holds {found:,} numbers; the file is damaged"
            )
        return values.reshape(item.shape)

    def _listed(self, item: Tensor, kind: torch.dtype) -> torch.Tensor | None:
        numbers = [] if item.numbers is None else item.numbers
        if kind in BITS:
            if not isinstance(numbers, list):
                return None
            bits = np.array([number & 0xFFFF for number in numbers], np.uint16)
            return torch.from_numpy(bits.view(np.int16).copy()).view(kind)
        try:
            return (
                torch.from_numpy(np.array(numbers)).to(kind) if len(numbers) else torch.empty(0, dtype=kind)
            )
        except (TypeError, ValueError, OverflowError):
            return None

    def _external(self, item: Tensor, what: str) -> memoryview:
        """The bytes of a tensor that lies in a file beside this one."""
        assert item.external is not None
        location = item.external.get("location", "")
        folder = self.path.parent.resolve()
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or folder not in target.parents:
            raise CheckpointError(
                f"{what} lies at {location!r}, outside the folder of the file; it is not read"
            )
        if location not in self._beside:
            self._beside[location] = files.content(target)
            self.held += len(self._beside[location])
        content = memoryview(self._beside[location])
        try:
            begin = int(item.external.get("offset", "0"))
            length = int(item.external.get("length", str(len(content) - begin)))
        except ValueError as error:
            raise CheckpointError(f"{what} lies at a place that is no number") from error
        if begin < 0 or length < 0 or begin + length > len(content):
            raise CheckpointError(f"{what} lies beyond the end of {location!r}")
        return content[begin : begin + length]


def _from_bytes(raw: memoryview, kind: torch.dtype, count: int) -> torch.Tensor | None:
    if len(raw) != count * kind.itemsize:
        return None
    if not count:
        return torch.empty(0, dtype=kind)
    if kind == torch.bool:
        return torch.from_numpy(np.frombuffer(raw, np.uint8) != 0)
    return torch.frombuffer(bytearray(raw), dtype=kind)
