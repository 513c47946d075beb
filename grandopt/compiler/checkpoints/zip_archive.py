"""Zip archives from anywhere: opened only when every member is where it says it is."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from grandopt.errors import CheckpointError

MAGIC = b"PK"


def names(path: Path) -> tuple[str, ...]:
    """The member names of the zip at `path`.

    Raises CheckpointError when the archive is truncated or damaged, when a member's path leaves the
    archive (absolute, or with ".."), or when two members share a name: readers disagree on which of the
    two counts, so that what was checked might not be what is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(archive.namelist())
            begins = min((info.header_offset for info in archive.infolist()), default=0)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path}: the zip archive is truncated or damaged ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if begins != 0:
        # What was found at the end is a whole zip inside the one that was cut off.
        raise CheckpointError(f"{path}: the zip archive is truncated or damaged (its end is missing)")
    for member in members:
        pure = PurePosixPath(member.replace("\\", "/"))
        drive = pure.parts[:1] != () and len(pure.parts[0]) == 2 and pure.parts[0].endswith(":")
        if pure.is_absolute() or ".." in pure.parts or drive:
            raise CheckpointError(f"{path}: member {member!r} leads out of the archive; it is not read")
    if len(set(members)) != len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise CheckpointError(f"{path}: two members are named {twice!r}; it is not read")
    return members


def read(path: Path, member: str) -> bytes:
    """The bytes of one member; raises CheckpointError when it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except KeyError as error:
        raise CheckpointError(f"{path}: has no member {member!r}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CheckpointError(f"{path}: member {member!r} is damaged ({error})") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise CheckpointError(f"{path}: member {member!r} cannot be read ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
