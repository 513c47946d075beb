"""Files as `flax.serialization.to_bytes` writes them, laid out here."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn


def dense(module: nn.Module) -> dict[str, dict[str, Any]]:
    """The linear layers of a Sequential as Flax's, `Dense_0`, `Dense_1`, …"""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return {
        f"Dense_{index}": {
            "kernel": layer.weight.detach().numpy().T.copy(), "bias": layer.bias.detach().numpy().copy(),
        }
        for index, layer in enumerate(layers)
    }  # fmt: skip


def packed(value: Any) -> bytes:
    """MessagePack of dicts, lists, plain values and arrays; a list becomes a dict, as in Flax."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if 0 <= value < 0x80:
            return bytes([value])
        case int():
            return b"\xd3" + struct.pack(">q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return (bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xd9" + bytes([len(text)])) + text
        case bytes():
            return b"\xc6" + struct.pack(">I", len(value)) + value
        case np.ndarray():
            inner = b"\x93" + _row(value.shape) + packed(value.dtype.name) + packed(value.tobytes())
            return b"\xc9" + struct.pack(">I", len(inner)) + b"\x01" + inner
        case Mapping():
            pairs = b"".join(packed(str(key)) + packed(item) for key, item in value.items())
            return (
                bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + struct.pack(">H", len(value))
            ) + pairs
        case _:
            return packed(dict(enumerate(value)))


def _row(shape: tuple[int, ...]) -> bytes:
    return bytes([0x90 | len(shape)]) + b"".join(map(packed, shape))
