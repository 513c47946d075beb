"""An exported program as bytes, and back."""

from __future__ import annotations

import copy
import io

import torch

from grandopt.errors import BuildError, first_line
from grandopt.runtime.executors.eager import loaded

ERRORS = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)

ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What a node says of the code it came from, with the paths of its files."""


def to_bytes(exported: torch.export.ExportedProgram) -> bytes:
    """The program in torch's own format, without its example; raises BuildError when torch cannot save it."""
    twin = copy.copy(exported)
    twin.example_inputs = None  # the only part of the file that would be a pickle
    buffer = io.BytesIO()
    try:
        torch.export.save(twin, buffer)
    except ERRORS as error:
        raise BuildError(f"torch.export cannot save the program: {first_line(error)}") from error
    return buffer.getvalue()


def to_anonymous_bytes(exported: torch.export.ExportedProgram) -> bytes:
    """Like `to_bytes`, naming no code and no file that the program came from.

    While it is saved, the nodes of the given program do not name them either: a copy of a graph gives nodes
    other names, which the program's signature would not know.
    """
    parts = [part for part in exported.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    kept = [(node, node.meta) for part in parts for node in part.graph.nodes]
    try:
        for node, meta in kept:
            node.meta = {key: value for key, value in meta.items() if key not in ORIGINS}
        return to_bytes(exported)
    finally:
        for node, meta in kept:
            node.meta = meta


def from_bytes(content: bytes) -> torch.export.ExportedProgram:
    """The inverse of `to_bytes`; raises BuildError when torch cannot load it."""
    try:
        return loaded(content)
    except ERRORS as error:
        raise BuildError(f"torch.export cannot load the program: {first_line(error)}") from error
