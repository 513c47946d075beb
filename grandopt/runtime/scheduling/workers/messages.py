"""What a process and its workers say to each other: one packet each, of a socket that keeps them apart.

To a worker: compute so many rows of that slot. From it: ready, done, failed with what the agent raised, or
that the agent cannot be loaded.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from enum import IntEnum

from grandopt.errors import named_line

LONGEST = 1 << 16
"""Bytes of a packet; the buffers of a socket hold several."""
FORGOTTEN = 64
"""Slots that one task tells a worker to forget; the next one tells of more."""
_TASK = struct.Struct("<QQQ")
_NUMBER = struct.Struct("<Q")
LONGEST_TASK = _TASK.size + FORGOTTEN * _NUMBER.size


class Kind(IntEnum):
    """What a worker says."""

    READY = 1
    DONE = 2
    FAILED = 3
    UNLOADABLE = 4


@dataclass(frozen=True)
class Task:
    """Compute the first `rows` observations of a slot, and forget the slots that are gone.

    The file of a slot that the worker has not seen goes with the packet.
    """

    slot: int
    capacity: int
    rows: int
    forget: tuple[int, ...] = ()

    def packed(self) -> bytes:
        """The packet."""
        return _TASK.pack(self.slot, self.capacity, self.rows) + b"".join(map(_NUMBER.pack, self.forget))

    @classmethod
    def unpacked(cls, packet: bytes) -> Task:
        """The inverse of `packed`."""
        slot, capacity, rows = _TASK.unpack_from(packet)
        return cls(slot, capacity, rows, tuple(at[0] for at in _NUMBER.iter_unpack(packet[_TASK.size :])))


def failure(kind: Kind, error: BaseException) -> bytes:
    """The packet that carries an error: the error itself where it can be pickled, else its words."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # many an error can be written and not read: its class takes other arguments
    except Exception:  # noqa: BLE001 - an error of the user's; its pickling may raise anything
        pickled = b""
    if not pickled or len(pickled) >= LONGEST // 2:
        pickled = pickle.dumps(RuntimeError(named_line(error)[: LONGEST // 8]))
    return bytes([kind]) + pickled


def raised(packet: bytes) -> Exception:
    """The error of a `failure`."""
    try:
        error = pickle.loads(packet[1:])
    except Exception as unreadable:  # noqa: BLE001 - a class of the user's that the worker could read
        return RuntimeError(f"the agent raised an error that cannot be read here: {named_line(unreadable)}")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
