"""Constant arrays as C text, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from grandopt.compiler.backends.native.plain.text import number
from grandopt.compiler.backends.native.render.text import C_TYPES
from grandopt.signature import Array

WIDTH = 108
"""Characters of a line of numbers."""


@dataclass
class Constants:
    """Arrays of constants by their bytes, each written once."""

    symbol: str
    known: dict[tuple[str, bytes], str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def name(self, data: Array) -> str:
        """The name of an array with these elements."""
        data = np.ascontiguousarray(data)
        key = data.dtype.name, data.tobytes()
        if key not in self.known:
            name = f"{self.symbol}_data{len(self.known)}"
            kind = C_TYPES[data.dtype.name]
            texts = [number(item, data.dtype.name) for item in data.reshape(-1).tolist()]
            self.lines += [f"static const {kind} {name}[{data.size}] = {{", *filled(texts), "};"]
            self.known[key] = name
            self.size += data.nbytes
        return self.known[key]


def filled(texts: Sequence[str]) -> list[str]:
    """Constants in lines of some width."""
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) > WIDTH:
            lines.append(line)
            line = "   "
        line = f"{line} {text},"
    return [*lines, line]
