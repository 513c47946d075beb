"""This machine, as far as an artifact can depend on it: architecture and CPU features."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_SAME = {"amd64": "x86_64", "arm64": "aarch64"}
_FEATURE_FIELDS = frozenset({"flags", "Features"})  # what x86 and ARM kernels call the line


def architecture() -> str:
    """The instruction set of this machine under one spelling: "x86_64", "aarch64", …"""
    machine = os.uname().machine.lower()
    return _SAME.get(machine, machine)


@lru_cache(maxsize=1)
def cpu_features() -> frozenset[str]:
    """The features that every core of this machine has, as the kernel names them ("avx2", "asimd", …).

    Empty on a system that does not list them in /proc/cpuinfo: an artifact that needs one is refused there.
    """
    if not CPUINFO.is_file():
        return frozenset()
    return parse_cpu_features(CPUINFO.read_text(encoding="utf-8", errors="replace"))


def parse_cpu_features(text: str) -> frozenset[str]:
    """The features that all processors in the text of a /proc/cpuinfo share."""
    cores = [
        frozenset(value.split())
        for field, _, value in (line.partition(":") for line in text.splitlines())
        if field.strip() in _FEATURE_FIELDS
    ]
    return frozenset.intersection(*cores) if cores else frozenset()


def by_demand(levels: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of an artifact's feature levels from the most to the least demanding, by what each needs.

    The order in which they stand in a manifest means nothing: its digest does not know it, and others who
    write it down, such as a store, need not keep it.
    """
    return sorted(levels, key=lambda name: -len(levels[name]))
