"""Which garbage collector this Python has."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from typing import Literal

GcKind = Literal["generational", "incremental", "free-threaded", "unknown"]

OLDEST_UNKNOWN = (3, 16)
"""PEP 848, a draft, proposes another collector for this version."""


def gc_kind(implementation: str, version: Sequence[int | str], *, free_threaded: bool) -> GcKind:
    """The collector of a Python, from what it says of itself (`version` as in `sys.version_info`).

    - "generational": three generations, the two younger ones collected often and the whole heap seldom. All
      CPython up to 3.13, and from 3.14.5 on.
    - "incremental": two generations; every automatic collection looks at the young one and a part of the old
      one, and `gc.collect(1)` does the same. Only 3.14.0 to 3.14.4: it held so much garbage back that 3.14.5
      and 3.15 returned to the one before (What's New In Python 3.15, section gc).
    - "free-threaded": no generations; each collection stops all threads and looks at the whole heap. The
      builds without the GIL, in every version of theirs.
    - "unknown": other implementations, pre-releases from 3.13 on (the collector changed between some of
      them), and versions after 3.15.
    """
    number = tuple(int(part) for part in version[:3])
    final = len(version) < 4 or version[3] == "final"
    if implementation != "cpython" or number >= OLDEST_UNKNOWN or (number >= (3, 13) and not final):
        return "unknown"
    if free_threaded:
        return "free-threaded"
    return "incremental" if (3, 14) <= number < (3, 14, 5) else "generational"


def current_gc_kind() -> GcKind:
    """The collector of this process."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return gc_kind(sys.implementation.name, sys.version_info, free_threaded=free_threaded)
