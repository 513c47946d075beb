"""Memory that a step needs only while it runs: it lies behind the arena, the same bytes for all steps."""

from __future__ import annotations

from grandopt.compiler.backends.native.memory import ALIGNMENT


class Workspace:
    """Grows to what the neediest of the rendered steps asks for."""

    def __init__(self) -> None:
        self.size = 0

    def layout(self, *sizes: int) -> list[int]:
        """Offsets of blocks of so many bytes, each aligned, that live at the same time."""
        offsets, end = [], 0
        for size in sizes:
            offsets.append(end)
            end += -(-size // ALIGNMENT) * ALIGNMENT
        self.size = max(self.size, end)
        return offsets
