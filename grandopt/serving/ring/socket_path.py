"""The Unix socket at which rings are asked for: made anew, and removed by whoever made it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from grandopt.errors import ConfigError

LONGEST = 107
"""Bytes of the path of a Unix socket, at most."""


def listening_at(path: Path, mode: int) -> socket.socket:
    """A socket that listens at `path`, not blocking; what a dead server left there is replaced.

    Raises ConfigError, with one line, for a path that is too long, in no folder, taken by a server that
    lives, or by something else than a socket.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise ConfigError(
            f"{path}: the path of a Unix socket has {LONGEST} bytes at most; take a shorter one"
        )
    _make_free(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o777 & ~mode)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen(64)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise ConfigError(f"{path}: no socket can be made there: {error.strerror}") from error
    return made


def _make_free(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: no socket can be made there: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{path}: is there already, and no socket; remove it, or take another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # its server is dead
        except OSError as error:
            raise ConfigError(f"{path}: a socket is there that cannot be asked: {error.strerror}") from error
        else:
            raise ConfigError(f"{path}: a server listens there already; stop it, or take another path")
