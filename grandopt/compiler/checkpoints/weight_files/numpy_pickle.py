"""Pickles of NumPy arrays in plain containers, read without running anything in them."""

from __future__ import annotations

import collections
import io
import pickle
from reprlib import repr as shown
from typing import Any

from grandopt.compiler.checkpoints.vetting import arrays, tree
from grandopt.compiler.checkpoints.vetting.pickle_scan import PickleScan
from grandopt.errors import CheckpointError, UntrustedError, first_line

CONTAINERS: dict[str, type] = {
    "collections.OrderedDict": collections.OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,
}
ENCODE = "_codecs.encode"
"""How a pickle of protocol 2 holds bytes."""

DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
    MemoryError, RecursionError, NotImplementedError, ImportError,
)  # fmt: skip
"""What unpickling is seen to raise on damaged bytes."""


def holds_arrays(found: PickleScan) -> bool:
    """Whether a pickle names what arrays are made by, and nothing beside containers."""
    names = set(found.globals)
    return bool(names & arrays.CLASSES.keys()) and names <= {*arrays.CLASSES, *CONTAINERS, ENCODE}


def read(data: bytes, where: str) -> Any:
    """The object in a pickle for which `holds_arrays`, with tensors for its arrays.

    Raises CheckpointError when it is damaged or beyond the limits, UntrustedError should it name more.
    """
    try:
        content = _Unpickler(data, where).load()
    except CheckpointError:
        raise
    except DAMAGED as error:
        raise CheckpointError(f"{where}: is a damaged pickle: {first_line(error)}") from error
    if isinstance(content, arrays.ArrayStandIn):
        content = content.only()
    tree.require_bounded(content, len(data), where)
    return arrays.as_tensors(content, len(data), where)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data))
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        found = arrays.fresh(module, name) or CONTAINERS.get(full)
        if found is not None:
            return found
        if full == ENCODE:
            return _encoded
        raise UntrustedError(f"{self._where}: names {full}, which no array needs; it was not run")

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError(f"{self._where}: refers to {shown(pid)} outside the pickle")


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin-1")
