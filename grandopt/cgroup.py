"""What the control groups of this process grant it, in version 1 and version 2 of their file system.

A container or a CI job often sees all cores of its host but may use only a share of them; every ancestor of a
group can limit it further, so the lowest limit on the way up counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def cpu_quota(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> float | None:
    """How many cores' worth of time this process is granted (1.5 is possible); None without a limit."""
    found = []
    for group in _groups("cpu", membership, mount):
        words = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:  # "max" and "-1" are no limit
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def memory_limit(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int | None:
    """Bytes of memory that this process is granted; None without a limit.

    Version 1 writes a number above every machine's memory for "none"; the caller compares.
    """
    found = [
        int(words[0])
        for group in _groups("memory", membership, mount)
        for words in (_words(group / "memory.max"), _words(group / "memory.limit_in_bytes"))
        if words and words[0].isdigit()
    ]
    return min(found, default=None)


def _groups(controller: str, membership: Path, mount: Path) -> Iterator[Path]:
    """The folders of the process's group and all its ancestors, wherever this kernel may have put them."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux, or no /proc: nothing is limited that could be read
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            roots = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            roots = [mount / controllers, mount / controller]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for root in dict.fromkeys(roots):
            for folder in (inner, *inner.parents):
                yield root / folder


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []
