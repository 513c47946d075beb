"""The data caches of a core, as the kernel lists them, and the working sets that show their speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
MEMORY = "memory"

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_OWN_LEVELS, _FILLED, _UNKNOWN_OWN = 2, 4, 1 << 20
_INNER_SETS = 8  # times the cache before: so much that little of it stays there
_LEAST_MEMORY, _MOST_MEMORY = 64 << 20, 256 << 20
_PROBED = tuple(1 << power for power in range(14, 27, 2))  # 16 KiB to 64 MiB


@dataclass(frozen=True)
class Place:
    """A cache, or memory: its name, the bytes that it holds (None: as many as there are), and the working set
    (a power of two) that is read from there."""

    name: str
    size: int | None
    working_set: int


def places(folder: Path | None = CACHES) -> tuple[Place, ...]:
    """The data caches from the innermost on, and memory.

    Where the system does not list them, or no `folder` is given, each of a row of working sets stands for a
    cache of its size.
    """
    sizes = () if folder is None else _sizes(folder)
    if not sizes:
        *inner, last = _PROBED
        return (*(Place(_words(size), size, size) for size in inner), Place(MEMORY, None, last))
    found: list[Place] = []
    before = 0
    for level, size in sizes:
        most = size // 2 if not before else min(size // 2, _INNER_SETS * before)
        found.append(Place(f"L{level}", size, _power(most)))
        before = size
    return (*found, Place(MEMORY, None, min(_MOST_MEMORY, max(_LEAST_MEMORY, _power(4 * before)))))


def filling(folder: Path = CACHES) -> int:
    """Bytes that leave nothing else in the caches that a core has for itself: in the first two levels.

    A third, which cores share, may still hold what was in those.
    """
    own = [size for level, size in _sizes(folder) if level <= _OWN_LEVELS]
    return _FILLED * max(own, default=_UNKNOWN_OWN)


def _sizes(folder: Path) -> Sequence[tuple[int, int]]:
    """Level and bytes of each data cache, rising in both."""
    found: dict[int, int] = {}
    for index in folder.glob("index*"):
        try:
            level, kind, size = (
                (index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
            )
            if kind in ("Data", "Unified"):
                found[int(level)] = _bytes(size)
        except (OSError, ValueError):  # a container or a hypervisor that shows half of it
            return ()
    rising: list[tuple[int, int]] = []
    for number, held in sorted(found.items()):
        if not rising or held > rising[-1][1]:
            rising.append((number, held))
    return rising


def _bytes(text: str) -> int:
    unit = _UNITS.get(text[-1:], 1)
    return int(text[:-1] if text[-1:] in _UNITS else text) * unit


def _power(size: int) -> int:
    """The largest power of two that is not larger."""
    return 1 << (max(size, 1).bit_length() - 1)


def _words(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
