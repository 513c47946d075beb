"""From which size on a pool is faster than fresh memory, as measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grandopt.errors import ConfigError

MARGIN = 0.9
"""A pool pays where it takes at most this share of the time of fresh memory: less is within the noise."""


@dataclass(frozen=True)
class SizeTime:
    """Medians in nanoseconds of taking, writing and giving back memory of `size` bytes."""

    size: int
    fresh_ns: float
    pooled_ns: float

    @property
    def pays(self) -> bool:
        return self.pooled_ns <= MARGIN * self.fresh_ns


@dataclass(frozen=True)
class PoolBreakEven:
    """The decision of a pool: from `pays_from` bytes on it keeps memory, never where that is None."""

    pays_from: int | None
    reason: str
    times: tuple[SizeTime, ...] = ()

    def __post_init__(self) -> None:
        if self.pays_from is not None and self.pays_from < 0:
            raise ConfigError(f"a pool cannot pay from {self.pays_from} bytes on; 0 keeps every size")

    def pays(self, size: int) -> bool:
        """Whether memory of `size` bytes is worth keeping."""
        return self.pays_from is not None and size >= self.pays_from


ALWAYS = PoolBreakEven(0, "asked for: every size is kept, whether it pays or not")


def decide(times: Sequence[SizeTime], live: int) -> PoolBreakEven:
    """The least measured size from which on the pool pays at that and every larger measured size.

    `live` is the number of pieces that were held at a time, for the reason.
    """
    first: int | None = None
    ordered = sorted(times, key=lambda time: time.size)
    for time in reversed(ordered):
        if not time.pays:
            break
        first = time.size
    if not ordered:
        return PoolBreakEven(None, "nothing was measured")
    at = next((time for time in ordered if time.size == first), ordered[-1])
    figures = (
        f"{_ns(at.pooled_ns)} pooled, {_ns(at.fresh_ns)} fresh at {_bytes(at.size)}, {live} held at a time"
    )
    if first is None:
        return PoolBreakEven(
            None, f"not faster by 10 % up to {_bytes(ordered[-1].size)}: {figures}", tuple(ordered)
        )
    return PoolBreakEven(first, f"faster from {_bytes(first)} on: {figures}", tuple(ordered))


def _bytes(size: int) -> str:
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _ns(value: float) -> str:
    return f"{value / 1e6:.3g} ms" if value >= 1e6 else f"{value / 1e3:.3g} µs"
