"""d3rlpy's `.d3` files: a pickle of a dict of text and bytes, read without anything in it being run.

`algo.save` pickles `{"torch": …, "config": …, "version": …}`: the bytes of a `torch.save`, JSON text and a
version. No class is needed for that, so a pickle that names one, or anything outside itself, is none of them.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from reprlib import repr as shown
from typing import Any

from grandopt import limits
from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.vetting.pickle_scan import scan
from grandopt.compiler.checkpoints.weight_files import torch_file
from grandopt.errors import CheckpointError, first_line

KEYS = frozenset({"torch", "config", "version"})
HEAD = 64
"""Bytes in which the first key of the dict is; d3rlpy pickles with Python's own protocol, which is 4 or 5."""

DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
    MemoryError, RecursionError, NotImplementedError,
)  # fmt: skip
"""What unpickling is seen to raise on damaged bytes."""


class _Plain(pickle.Unpickler):
    """Builds text, bytes, numbers and containers; there is nothing that it could call."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"refers to {shown(pid)} outside the pickle")


def content(path: Path) -> dict[str, Any] | None:
    """What is in the `.d3` at `path`; None for a file that is none.

    `torch` is the dict of state dicts, `config` the settings as plain data, `version` d3rlpy's version.
    Raises CheckpointError for a damaged one, UntrustedError where the weights would have to be unpickled.
    """
    head, _ = files.head(path, HEAD)
    if not head.startswith(b"\x80") or head.startswith(torch_file.LEGACY_MAGIC) or b"torch" not in head:
        return None
    data = files.content(path)
    found = scan(data)
    if found.globals or not found.complete or found.greedy is not None:
        return None
    try:
        held = _Plain(io.BytesIO(data)).load()
    except DAMAGED as error:
        raise CheckpointError(f"{path}: is a damaged pickle: {first_line(error)}") from error
    if not isinstance(held, dict) or held.keys() != KEYS:
        return None
    if not isinstance(held["torch"], bytes) or not all(
        isinstance(held[key], str) for key in ("config", "version")
    ):
        return None
    return {
        "torch": torch_file.from_bytes(held["torch"], f"{path} (torch)"),
        "config": _settings(held["config"], path),
        "version": held["version"],
    }


def _settings(text: str, path: Path) -> dict[str, Any]:
    try:
        data = limits.document(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its settings are no JSON text: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: its settings are no JSON object")
    return data
