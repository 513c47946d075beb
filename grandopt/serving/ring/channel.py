"""The server's side of a ring's memory: the shared file, and what is counted beside it."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading

import numpy as np

from grandopt.runtime.engine.direct import DirectStats
from grandopt.runtime.histogram import BUCKETS, LatencyCounts
from grandopt.serving.ring.futex import Futexes
from grandopt.serving.ring.layout import CLIENT_ASLEEP, CLOSED, SERVER_ASLEEP, TEXT, WHY, Layout, text_field
from grandopt.serving.ring.status import Status
from grandopt.signature import Array

SPIN, NEXT, STOP, FAILED, LATE, SUM, LAST, NAPS, COUNTS = 4, 5, 6, 7, 8, 9, 10, 11, 12
"""Places in the control words, after the four of the layout, as in `native_ring.h`."""
SWITCH, FINISH = 1, 2
"""Stop after the request under way, or after all that were sent."""
_WORD = struct.Struct("=I")


class Channel:
    """A ring's file, sealed against changes of its size, and the control words of whoever serves it.

    `control` is the server's alone: a client cannot write it. It belongs to the thread that serves; others
    write only its word STOP, by `stop`.
    """

    def __init__(self, layout: Layout, spin_ns: int) -> None:
        self.layout = layout
        self.file = os.memfd_create("grandopt-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.file, layout.size)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, seals)
            self.memory = mmap.mmap(self.file, layout.size)
        except BaseException:
            os.close(self.file)
            raise
        written = layout.written()
        self.memory[: len(written)] = written
        self.futexes = Futexes(self.memory)
        self.control: Array = np.zeros(COUNTS + BUCKETS, dtype=np.uint64)
        self.control[:SPIN] = layout.slots, layout.first_slot, layout.slot_bytes, layout.answer
        self.control[SPIN] = spin_ns
        self._fence = threading.Lock()

    def stop(self, how: int) -> None:
        """Have the thread that serves return, now (SWITCH) or after what was sent (FINISH)."""
        self.control[STOP] = how
        self._wake(SERVER_ASLEEP)

    def end(self, status: Status, why: str) -> None:
        """Tell the client that the ring is served no longer; wakes it."""
        self.memory[WHY : WHY + TEXT] = text_field(why, TEXT)
        _WORD.pack_into(self.memory, CLOSED, status)
        self._wake(CLIENT_ASLEEP)

    def stats(self) -> DirectStats:
        """What was answered, failed and came too late."""
        words = self.control
        counts = LatencyCounts(words[COUNTS:].astype(np.int64), int(words[SUM]))
        return DirectStats(counts, int(words[FAILED]), int(words[LATE]))

    def handed_over(self) -> None:
        """Close the descriptor; the memory is given back when nobody has the channel any more."""
        os.close(self.file)
        self.file = -1

    def _wake(self, offset: int) -> None:
        with self._fence:  # a full fence, where it can matter: see `fence_of_a_lock`
            pass
        _WORD.pack_into(self.memory, offset, 0)
        self.futexes.wake(offset)
