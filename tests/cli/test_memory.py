"""`grandopt memory watch` on real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Grandopt, assert_one_error_line

LEAKING = (
    "import time\nheld = []\nprint(flush=True)\nwhile True:\n held.append(b'x' * 400_000); time.sleep(0.01)"
)
WAITING = "import time\nprint(flush=True)\ntime.sleep(60)"


@contextmanager
def running(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("code", "leaking"), [(LEAKING, True), (WAITING, False)])
def test_a_process_is_watched_from_outside(grandopt: Grandopt, code: str, leaking: bool) -> None:
    with running(code) as pid:
        result = grandopt(
            "memory", "watch", str(pid), "--seconds", "1.5", "--interval", "0.1", "--least", "10", "--json"
        )
    assert result.returncode == int(leaking), result.stderr
    document = json.loads(result.stdout)
    assert document["leaking"] is leaking
    assert document["peak_bytes"] >= document["last_bytes"]["all"] > 1 << 20
    assert ("grows by" in document["reason"]) is leaking
    assert "16/16" in result.stderr


def test_text_and_bad_input(grandopt: Grandopt) -> None:
    with running(WAITING) as pid:
        shown = grandopt("memory", "watch", str(pid), "--seconds", "0.2", "--interval", "0.02", "-q")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert shown.stdout.startswith("resident ")
    assert "no leak: resident memory does not grow" in shown.stdout
    for arguments, message in (
        ([str(pid)], "there is no process"),
        (["1", "--interval", "nan"], "--interval must be positive"),
        (["1", "--seconds", "5"], "too few for a trend"),
        (["1", "--least", "-1"], "--least must be 0 or more"),
    ):
        result = grandopt("memory", "watch", *arguments)
        assert result.returncode == 2, message
        assert_one_error_line(result)
        assert message in result.stderr
