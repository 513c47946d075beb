"""A client's segment of POSIX shared memory, reached by copying.

It is never mapped. A page that the client cuts off while it is mapped here would end the whole server by
SIGBUS; `pread` on the same descriptor gives fewer bytes instead, which is an error of that one request. A
system call and a copy are what that costs.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from grandopt.serving.protocol.errors import Code, ProtocolError

FOLDER = Path("/dev/shm")
"""Where Linux has what `shm_open` opens."""

RESERVED = "grandopt"
"""The beginning of the keys that are the server's own."""

KEY = re.compile(r"/?([A-Za-z0-9_.+-]{1,250})")


def path_of(key: str) -> Path:
    """The file of a key such as `/frames`. Raises ProtocolError for one that is no name, or is reserved."""
    found = KEY.fullmatch(key)
    if found is None or found[1] in (".", ".."):
        raise ProtocolError(
            Code.INVALID,
            f"shared memory key {key!r:.80}: wanted a name of letters, digits and _ . + -, with or without "
            "one leading slash",
        )
    if found[1].startswith(RESERVED):
        raise ProtocolError(
            Code.INVALID,
            f"shared memory key {key!r:.80}: names that begin with {RESERVED} are the server's own",
        )
    return FOLDER / found[1]


class Segment:
    """An open segment. The descriptor stays: a client that removes the name takes nothing away from it."""

    def __init__(self, key: str) -> None:
        """Open it for reading and writing. Raises ProtocolError where that cannot be done."""
        path = path_of(key)
        try:
            # Non-blocking, for the name may be a pipe's, and no link is followed out of the folder.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise ProtocolError(
                Code.INVALID, f"shared memory key {key!r:.80} cannot be opened: {error.strerror}"
            ) from error
        self.key = key
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise ProtocolError(Code.INVALID, f"shared memory key {key!r:.80} is no shared memory")

    def require(self, offset: int, byte_size: int) -> None:
        """Raise ProtocolError unless these bytes are inside the segment as it is now."""
        size = os.fstat(self._descriptor).st_size
        if offset + byte_size > size:
            raise ProtocolError(
                Code.INVALID,
                f"shared memory key {self.key!r:.80} has {size} bytes; {byte_size} from {offset} are not "
                "in it",
            )

    def read(self, offset: int, byte_size: int) -> bytes:
        """A copy of these bytes. Raises ProtocolError where the client has cut them off."""
        data = os.pread(self._descriptor, byte_size, offset)
        if len(data) < byte_size:
            # One call gives at most 2 GiB; what it leaves is there, or was cut off.
            parts = [data]
            while data and (missing := byte_size - sum(map(len, parts))):
                data = os.pread(self._descriptor, missing, offset + byte_size - missing)
                parts.append(data)
            data = b"".join(parts)
            if len(data) < byte_size:
                self.require(offset, byte_size)
                raise ProtocolError(Code.INVALID, f"shared memory key {self.key!r:.80} changed its size")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` there. Raises ProtocolError where the client has cut the segment."""
        # A write behind the end would make the client's segment longer.
        self.require(offset, len(data))
        rest = memoryview(data).cast("B")
        while rest:
            try:
                done = os.pwrite(self._descriptor, rest, offset)
            except OSError as error:
                raise ProtocolError(
                    Code.INVALID, f"shared memory key {self.key!r:.80} cannot be written: {error.strerror}"
                ) from error
            rest, offset = rest[done:], offset + done

    def close(self) -> None:
        os.close(self._descriptor)
