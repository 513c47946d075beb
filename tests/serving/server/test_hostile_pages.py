"""Pages that mean harm: a thousand of them, and some that never read."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from grandopt.serving.dashboard.feed import MOST_PAGES
from tests.serving.server.processes import address, ask, observation, served

EVENTS = b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n"
MORE_MB = 40


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def page(stack: ExitStack, place: tuple[str, int]) -> socket.socket:
    made = stack.enter_context(socket.create_connection(place, 10.0))
    made.sendall(EVENTS)
    return made


@pytest.mark.slow
def test_a_thousand_pages_that_stay_hold_up_nobody(artifacts: Path) -> None:
    with served(artifacts) as (told, process), ExitStack() as stack:
        place = address(told)
        before = resident_mb(process.pid)
        pages = [page(stack, place) for _ in range(1000)]
        heads = [one.recv(200) for one in pages]
        followed = [head for head in heads if head.startswith(b"HTTP/1.1 200")]
        refused = [head for head in heads if head.startswith(b"HTTP/1.1 503")]
        assert (len(followed), len(followed) + len(refused)) == (MOST_PAGES, 1000)
        assert all(b"retry-after: " in head.lower() for head in refused)
        began = time.monotonic()
        for _ in range(50):
            assert ask(place, "POST", "/v2/models/policy/infer", observation())[0] == 200
        assert time.monotonic() - began < 10
        time.sleep(3.0)  # none of them reads on
        assert resident_mb(process.pid) < before + MORE_MB
        for one in pages:
            one.close()
        time.sleep(1.5)
        assert page(stack, place).recv(200).startswith(b"HTTP/1.1 200"), "there is room again"
