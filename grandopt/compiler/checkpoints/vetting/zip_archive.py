"""Zip archives from anywhere: one reader of them, and copies that hold nothing but what it read.

Readers of zips disagree: on which of two equal names counts, on the case of names, on which of two tables of
contents is the archive's. What torch is given is therefore a copy, written here from the members that were
read and checked.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from grandopt import limits
from grandopt.compiler.checkpoints.files import content
from grandopt.errors import CheckpointError, first_line

MAGIC = b"PK"
ENTRY = b"PK\x01\x02"
"""What each entry of the table of contents begins with."""

PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
EPOCH = (1980, 1, 1, 0, 0, 0)

DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, UnicodeError, ValueError,
    OverflowError, IndexError, struct.error, OSError,
)  # fmt: skip
"""What zipfile raises on damaged archives; an encrypted member is a RuntimeError."""


@dataclass(frozen=True)
class ZipArchive:
    """An archive whose table of contents was checked; its members are read one by one.

    `where` names it in errors, `names` are those of its members in order, `size` is that of the file.
    """

    where: str
    names: tuple[str, ...]
    size: int
    _file: zipfile.ZipFile

    def read(self, member: str) -> bytes:
        """The bytes of one member; raises CheckpointError when it is missing or damaged."""
        if member not in self.names:
            raise CheckpointError(f"{self.where}: has no member {member!r}")
        try:
            return self._file.read(member)
        except DAMAGED as error:
            raise CheckpointError(
                f"{self.where}: member {member!r} is damaged or cannot be read ({first_line(error)})"
            ) from error


def opened(path: Path) -> ZipArchive:
    """The zip at `path`; raises CheckpointError like `from_bytes`, and when the file cannot be read."""
    return from_bytes(content(path), str(path))


def from_bytes(data: bytes, where: str) -> ZipArchive:
    """The zip in `data`.

    Raises CheckpointError when the archive is truncated or damaged, when a member's path leaves the archive
    (absolute, or with ".."), when the names of two members differ in nothing but case: readers disagree on
    which of the two counts, so that what was checked might not be what is read; and when it would come to
    more than the limits on members and on their bytes.
    """
    if data.count(ENTRY) > limits.MEMBERS:
        raise CheckpointError(f"{where}: the zip archive holds more than {limits.MEMBERS:,} members")
    try:
        file = zipfile.ZipFile(io.BytesIO(data))
    except DAMAGED as error:
        raise CheckpointError(
            f"{where}: the zip archive is truncated or damaged ({first_line(error)})"
        ) from error
    members = file.infolist()
    if min((member.header_offset for member in members), default=0) != 0:
        # What was found at the end is a whole zip inside the one that was cut off.
        raise CheckpointError(f"{where}: the zip archive is truncated or damaged (its end is missing)")
    names = tuple(member.filename for member in members)
    _require_distinct(names, where)
    packed = next((item for item in members if item.compress_type not in PACKED), None)
    if packed is not None:
        raise CheckpointError(
            f"{where}: member {packed.filename!r} is compressed by method {packed.compress_type}; only "
            f"stored and deflated ones are read"
        )
    total, most = sum(member.file_size for member in members), limits.inflated(len(data))
    if total > most:
        raise CheckpointError(
            f"{where}: its members come to {total:,} bytes; from a file of {len(data):,} bytes at most "
            f"{most:,} are read"
        )
    return ZipArchive(where, names, len(data), file)


def _require_distinct(names: tuple[str, ...], where: str) -> None:
    seen = set()
    for name in names:
        pure = PurePosixPath(name.replace("\\", "/"))
        drive = pure.parts[:1] != () and len(pure.parts[0]) == 2 and pure.parts[0].endswith(":")
        if pure.is_absolute() or ".." in pure.parts or drive:
            raise CheckpointError(f"{where}: member {name!r} leads out of the archive; it is not read")
        if name.casefold() in seen:
            raise CheckpointError(f"{where}: two members are named {name!r}; it is not read")
        seen.add(name.casefold())


def written(members: Mapping[str, bytes]) -> bytes:
    """A zip of these members and nothing else, stored as torch stores them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name, EPOCH), data)
    return buffer.getvalue()
