"""Where rings are handed out, and to whom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from grandopt.errors import ConfigError
from grandopt.serving.ring.layout import (
    HELLO,
    MAGIC,
)
from grandopt.serving.ring.options import RingOptions
from grandopt.serving.ring.server import RingServer
from tests.serving.ring.serving import Serving


def test_what_cannot_be_one(own: Serving, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, said in (
        (own.path, "a server listens there already"),
        (tmp_path / "file", "is there already, and no socket"),
        (tmp_path / "no" / "ring", "no socket can be made there: No such file"),
        (tmp_path / ("long" * 40), "107 bytes at most"),
    ):
        with pytest.raises(ConfigError, match=said):
            own.do(RingServer(SimpleNamespace(engine=own.engine), path).start())
    assert (tmp_path / "file").read_text() == "mine"


def test_only_its_user_may_connect(own: Serving, tmp_path: Path) -> None:
    assert own.path.stat().st_mode & 0o777 == 0o600
    with Serving(tmp_path / "all", RingOptions(any_user=True)) as open_to_all:
        assert open_to_all.path.stat().st_mode & 0o777 == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be another user")
def test_another_user_is_refused(own: Serving) -> None:
    own.path.chmod(0o666)
    for folder in list(own.path.parents)[:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    asked = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(bytes.fromhex(sys.argv[2]))\n"
        "sys.stdout.write(s.recv(4096)[24:].rstrip(b'\\0').decode())"
    )
    hello = HELLO.pack(MAGIC, 1, 0, b"policy").hex()
    done = subprocess.run([sys.executable, "-c", asked, own.path, hello], capture_output=True, text=True)
    assert done.stdout == "user 65534 may not ask here; the server admits only its own", done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"spin_us": -1}, "spin_us is 0 to"), ({"slots": 1}, "2 to 4096"), ({"rings": 0}, "at least 1")],
)
def test_options_that_cannot_be(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RingOptions(**changes)
