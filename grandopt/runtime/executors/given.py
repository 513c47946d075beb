"""Torch tensors as a caller gives them, as NumPy arrays of the same values. Nothing here imports torch."""

from __future__ import annotations

import sys
from typing import Any

from grandopt.errors import SignatureError, first_line

DENIED = (RuntimeError, TypeError, NotImplementedError, ValueError)
"""What torch raises for a tensor without an array."""


def as_numpy(name: str, value: Any) -> Any:
    """A tensor on any device as an array, what is no tensor as it is.

    Dtypes that NumPy lacks, such as bfloat16, come as float32, which has all of their values. Raises
    SignatureError, which names the input, for a tensor whose values do not lie in memory one by one.
    """
    if not hasattr(value, "detach"):
        return value
    try:
        return value.detach().cpu().numpy()
    except DENIED:  # the ordinary tensor pays for none of the questions below
        return _odd(name, value)


def _odd(name: str, value: Any) -> Any:
    torch = sys.modules["torch"]
    if value.device.type == "meta":
        raise SignatureError(f"{name}: a tensor on the device 'meta' has no values")
    if value.is_nested or value.layout is not torch.strided:
        kind = "a nested" if value.is_nested else f"of the layout {value.layout}, a sparse or packed"
        raise SignatureError(f"{name}: is {kind} tensor; an agent takes dense ones, see .to_dense()")
    if value.is_quantized:
        raise SignatureError(f"{name}: is a quantized tensor ({value.dtype}); give it as .dequantize()")
    try:
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        return (plain.float() if plain.dtype.is_floating_point else plain).numpy()
    except DENIED as error:
        raise SignatureError(
            f"{name}: a tensor of {value.dtype} has no NumPy array ({first_line(error)}); convert it yourself"
        ) from error
