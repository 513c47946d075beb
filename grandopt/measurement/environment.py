"""The machine and the libraries that a figure was taken with."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from grandopt import cgroup
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.config.engines import ENGINE_CLASSES

MACHINE = "GRANDOPT_MACHINE"
CPUINFO = Path("/proc/cpuinfo")
CPUS = Path("/sys/devices/system/cpu")
LIBRARIES = (
    "grandopt", "torch", "numpy",
    *dict.fromkeys(library for engine in ENGINE_CLASSES.values() for library in engine.libraries),
    "safetensors", "optuna",
)  # fmt: skip

_MODEL_FIELDS = ("model name", "Model", "cpu", "CPU part")  # x86; some ARM boards; POWER; other ARM
_SYSCTL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Environment:
    """Plain data for a report.

    `cores` is the CPU affinity, `cgroup_quota` the granted cores' worth of time, `available_cores` the
    number of threads that the two allow. What a system does not tell is None. `identity` is the same for
    two machines whose figures may be compared: a SHA-256 (hex) of architecture, CPU model and features,
    cores, quota and governor, but not of any software. Machines that look alike and are not (memory,
    firmware, cooling) are told apart by the environment variable GRANDOPT_MACHINE: any word, which becomes a
    part of it.
    """

    cpu_model: str | None
    architecture: str
    cpu_features: tuple[str, ...]
    cores: int
    cgroup_quota: float | None
    available_cores: int
    governor: str | None
    memory_bytes: int
    memory_limit_bytes: int | None
    os: str
    kernel: str
    python: str
    libraries: dict[str, str]
    identity: str


def environment() -> Environment:
    """This machine, as this process may use it. No measured library is imported."""
    model, features = cpu_model(), tuple(sorted(cpu_features()))
    cores, quota, frequency = affinity(), cgroup.cpu_quota(), governor()
    memory = psutil.virtual_memory().total
    limit = cgroup.memory_limit()
    return Environment(
        cpu_model=model,
        architecture=architecture(),
        cpu_features=features,
        cores=cores,
        cgroup_quota=quota,
        available_cores=available_cores(),
        governor=frequency,
        memory_bytes=memory,
        memory_limit_bytes=limit if limit is not None and limit < memory else None,
        os=_os(),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=libraries(),
        identity=_digest([architecture(), model, features, cores, quota, frequency, *_named()]),
    )


def _named() -> list[str]:
    """What the user calls this kind of machine; nothing for most."""
    name = os.environ.get(MACHINE)
    return [name] if name else []


def available_cores() -> int:
    """How many threads can run at once: CPU affinity, cut by the cgroup's quota, at least 1."""
    quota = cgroup.cpu_quota()
    return affinity() if quota is None else max(1, min(affinity(), math.floor(quota)))


def crowded(own: int) -> bool:
    """Whether others want so much of this machine that time says little about the work done in it.

    That is, whether over the last minute more was ready to run than it has cores, beside `own` busy processes
    of the caller.
    """
    return psutil.getloadavg()[0] > (os.cpu_count() or 1) + own


def affinity() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model(cpuinfo: Path = CPUINFO) -> str | None:
    """The processor's name as the kernel gives it."""
    if cpuinfo.is_file():
        pairs = [
            line.partition(":") for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        ]
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        return next((fields[name] for name in _MODEL_FIELDS if fields.get(name)), None)
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string")
    return platform.processor() or None


def governor(cpus: Path = CPUS) -> str | None:
    """The frequency governor, or all of them where cores differ; None where there is none to be seen."""
    found = {
        file.read_text(encoding="ascii").strip() for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    return ", ".join(sorted(found)) or None


def libraries() -> dict[str, str]:
    """Installed versions of the libraries that can change a figure."""
    return dict(_versions())


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not a Linux distribution that describes itself
        return f"{platform.system()} {platform.version()}"


def _sysctl(name: str) -> str | None:
    try:
        answer = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=_SYSCTL_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
