"""Sleeping and waking over a word of shared memory, from Python."""

from __future__ import annotations

import ctypes
import platform
import threading
from mmap import mmap

from grandopt.errors import UnsupportedError

WAIT, WAKE = 0, 1
NUMBERS = {"x86_64": 202, "aarch64": 98}
"""The system call's number."""


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Futexes:
    """The words of a mapping as futexes. Any thread may use it; the mapping has to outlive it."""

    def __init__(self, memory: mmap) -> None:
        number = NUMBERS.get(platform.machine())
        if number is None:
            raise UnsupportedError(f"rings are not known on {platform.machine()}; ask over HTTP")
        self._number = number
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def wait(self, offset: int, ns: int) -> None:
        """Sleep while the word at `offset` is 1, at most so long; without the GIL."""
        limit = _Time(*divmod(ns, 1_000_000_000))
        word = ctypes.c_void_p(self._address + offset)
        self._call(self._number, word, WAIT, 1, ctypes.byref(limit), None, 0)

    def wake(self, offset: int) -> None:
        """Wake one that sleeps there."""
        self._call(self._number, ctypes.c_void_p(self._address + offset), WAKE, 1, None, None, 0)


def fence_of_a_lock() -> threading.Lock:
    """A lock that nobody else has, of which `with lock: pass` is a full memory fence.

    Python has no fence of its own. Taking a lock needs an atomic read-modify-write, and on x86-64 each of
    these is a full fence; other stores and loads keep their order there by themselves. Elsewhere neither
    holds: raises UnsupportedError.
    """
    if platform.machine() != "x86_64":
        raise UnsupportedError(
            f"Python's side of a ring needs the memory order of x86-64, this is {platform.machine()}; ask "
            f"from C (grandopt_ring.h), or over HTTP"
        )
    return threading.Lock()
