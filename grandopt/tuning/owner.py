"""Which process works on a trial, and whether it still lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Host, process id and start time: together they name a process even after its id is used again."""
    return {"host": platform.node(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def alive(owner: Mapping[str, Any]) -> bool | None:
    """Whether that process runs; None when it is on another host and cannot be seen from here."""
    if owner["host"] != platform.node():
        return None
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return False
    # The start time is read with clock-tick resolution and may move by one when the clock is adjusted.
    return bool(abs(started - owner["started"]) < 1.0)
