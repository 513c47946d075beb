"""An exported program as bytes, and back."""

from __future__ import annotations

import copy
import io

import torch

from grandopt.errors import BuildError, first_line

ERRORS = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)


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


def from_bytes(content: bytes) -> torch.export.ExportedProgram:
    """The inverse of `to_bytes`; raises BuildError when torch cannot load it."""
    try:
        return torch.export.load(io.BytesIO(content))
    except ERRORS as error:
        raise BuildError(f"torch.export cannot load the program: {first_line(error)}") from error
