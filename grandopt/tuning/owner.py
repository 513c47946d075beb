"""Which process works on a trial or a build, and whether it still lives."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

HOST = "GRANDOPT_HOST"
"""Environment variable that names this host to others, for containers that share one host's processes."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")


def this_process() -> dict[str, Any]:
    """Host, process id and start time: together they name a process even after its id is used again.

    `sees` names those who see the same processes: a host's name is not enough, because containers and cloned
    machines may have the same one.
    """
    return {
        "host": os.environ.get(HOST) or platform.node(),
        "sees": _sees(os.environ.get(HOST)),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def alive(owner: Mapping[str, Any]) -> bool | None:
    """Whether that process runs; None when it is on another host and cannot be seen from here."""
    if owner.get("sees") != _sees(os.environ.get(HOST)):
        return None
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return False
    # The start time is read with clock-tick resolution and may move by one when the clock is adjusted.
    return bool(abs(started - owner["started"]) < 1.0)


@lru_cache(maxsize=4)
def _sees(named: str | None) -> str:
    """The boot of the kernel and its namespace of processes, where the system tells; else the host's name."""
    if named:
        return named
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()} {_PROCESSES.readlink()}"
    except OSError:  # another system than Linux
        return platform.node()
