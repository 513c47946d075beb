"""What the system says of a process's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grandopt.errors import ConfigError


@dataclass(frozen=True)
class Resident:
    """Bytes in RAM: all, those that no other process shares (`unique`), and those with each shared page
    divided among its users (`proportional`); None where the system does not tell."""

    all: int
    unique: int | None = None
    proportional: int | None = None


Reader = Callable[[], Resident]


def resident_reader(pid: int | None = None, *, detailed: bool = True) -> Reader:
    """A reader for this process, or the one of that number; without `detailed` it tells only `all`.

    The details walk the process's page tables, which takes milliseconds where it has gigabytes. Calling the
    reader raises ConfigError when the process is not there or may not be looked at.
    """
    import psutil

    def failed(error: psutil.Error) -> ConfigError:
        return ConfigError(f"the memory of process {pid or 'self'} cannot be read: {error}")

    try:
        process = psutil.Process(pid)
    except (psutil.Error, ValueError, OverflowError) as error:
        raise ConfigError(f"there is no process {pid} to look at: {error}") from error

    def read() -> Resident:
        try:
            plain = process.memory_info()
        except psutil.Error as error:
            raise failed(error) from error
        if not detailed:
            return Resident(plain.rss)
        try:
            full = process.memory_full_info()
        except psutil.AccessDenied:  # another user's process: its sum is public, its pages are not
            return Resident(plain.rss)
        except psutil.Error as error:
            raise failed(error) from error
        return Resident(plain.rss, getattr(full, "uss", None), getattr(full, "pss", None))

    return read
