"""Progress goes to stderr, in the form that suits where it is read."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from grandopt.cli.console import Terminal
from grandopt.cli.progress import ProgressDisplay
from grandopt.workflows.events import Event

EVENTS = [
    Event("info", "", "start", "2 agents", 0, 2),
    Event("debug", "gate", "build", "torchscript/float32", 0, 2),
    Event("info", "gate", "measure", "3 candidates", 0, 2, remaining_s=41.6),
    Event("warning", "gate", "verify", "refused:\nrelative L2", 0, 2),
    Event("error", "fvg", "open", "no such file", 1, 2),
]


def said(terminal: Terminal, *, interactive: bool, events: list[Event] = EVENTS, width: int = 160) -> str:
    stream = io.StringIO()
    terminal.err = Console(file=stream, force_terminal=interactive, width=width, markup=False)
    with ProgressDisplay(terminal) as display:
        for event in events:
            display(event)
    return stream.getvalue()


def test_in_a_log_every_event_is_a_line() -> None:
    assert said(Terminal(), interactive=False).splitlines() == [
        "start: 2 agents",
        "gate measure: 3 candidates",
        "gate verify: refused:\\nrelative L2",
        "fvg open: no such file",
    ]


def test_verbose_adds_the_debug_events() -> None:
    assert "gate build: torchscript/float32" in said(Terminal(verbose=True), interactive=False)


@pytest.mark.parametrize("interactive", [False, True])
def test_quiet_leaves_the_errors(interactive: bool) -> None:
    text = said(Terminal(quiet=True), interactive=interactive)
    assert "fvg open: no such file" in text
    assert "gate" not in text


def test_a_terminal_has_a_live_line_and_keeps_warnings() -> None:
    text = said(Terminal(), interactive=True)
    assert "gate verify: refused:\\nrelative L2" in text
    assert "3 candidates" not in text
    assert "1/2" in text
    assert text.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in text  # the cursor is shown again


def lines(text: str) -> list[str]:
    """What a live display has drawn, without the codes that move the cursor."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_the_live_line_says_what_is_measured_and_what_is_left() -> None:
    last = lines(said(Terminal(), interactive=True, events=EVENTS[:3]))[-1]
    assert re.fullmatch(r"0/2 0:00:0\d \S+ gate · measure 4[12] s left 3 candidates", last)


def test_in_80_columns_a_long_agent_leaves_room_for_what_is_built() -> None:
    event = Event(
        "info",
        "tactical_embedder",
        "build",
        "3 of 18 done, now openvino/bfloat16, native/float32",
        5,
        8,
        30.0,
    )
    drawn = lines(said(Terminal(), interactive=True, events=[event], width=80))
    assert all(len(line) <= 80 for line in drawn)
    assert re.match(
        r"5/8 0:00:0\d tactical_embedder · build (30|29) s left 3 of 18 done, now openv", drawn[-1]
    )
