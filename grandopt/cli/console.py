"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

import typer

from grandopt.reporting.log import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# What a shell shows for a program that SIGPIPE ended: whoever read our output has stopped reading.
READER_GONE = 141


class Terminal:
    """Where one command writes.

    With `as_json`, `document` is the only thing on stdout, and `show` and `lines` print nothing; with
    `quiet`, `note` prints nothing. Colour is used only on a terminal, and never when NO_COLOR is set.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose

    @cached_property
    def out(self) -> Console:
        """Rich console on stdout, for results."""
        return _console(sys.stdout)

    @cached_property
    def err(self) -> Console:
        """Rich console on stderr, for progress and notes."""
        return _console(sys.stderr)

    def show(self, *renderables: RenderableType) -> None:
        """Print a result for people on stdout; nothing with `as_json`."""
        if self.as_json:
            return
        with self.out.capture() as captured:
            self.out.print(*renderables, sep="\n", highlight=False)
        _to_stdout(captured.get())

    def lines(self, lines: Iterable[str]) -> None:
        """Print a result of plain lines on stdout, not wrapped; nothing with `as_json`."""
        if not self.as_json:
            _to_stdout("".join(f"{line}\n" for line in lines))

    def document(self, data: Any) -> None:
        """Print the one JSON document of `--json` on stdout; nothing without it."""
        if self.as_json:
            _to_stdout(json.dumps(data, indent=2, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Print one line on stderr, unless quiet."""
        if not self.quiet:
            complain(text)


def complain(text: str) -> None:
    """Print one line on stderr, whatever the verbosity. A closed stderr is no reason to stop."""
    try:
        sys.stderr.write(one_line(text) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        _discard(sys.stderr)


def prepare_streams() -> None:
    """Let a terminal whose encoding lacks a character show "?" for it instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, soft_wrap=False, emoji=False, markup=False)


def _to_stdout(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        _discard(sys.stdout)
        raise typer.Exit(READER_GONE) from error


def _discard(stream: TextIO) -> None:
    # What is still buffered would raise once more when the interpreter closes the stream.
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, needed as a descriptor
        os.dup2(nowhere.fileno(), stream.fileno())
