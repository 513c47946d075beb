"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import ctypes
import io
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grandopt.private import without_secrets
from grandopt.reporting.log import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


STDOUT = 1


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
        return _console(sys.stdout, lasting=False)

    @cached_property
    def err(self) -> Console:
        """Rich console on stderr, for progress and notes."""
        return _console(sys.stderr, lasting=True)

    def show(self, *renderables: RenderableType) -> None:
        """Print a result for people on stdout; nothing with `as_json`."""
        if not self.as_json:
            self.out.print(*renderables, sep="\n", highlight=False)
            sys.stdout.flush()

    def lines(self, lines: Iterable[str]) -> None:
        """Print a result of plain lines on stdout, not wrapped; nothing with `as_json`."""
        if not self.as_json:
            sys.stdout.writelines(f"{line}\n" for line in lines)
            sys.stdout.flush()

    def raw(self, text: str) -> None:
        """Print a result for other programs on stdout as it is; nothing with `as_json`."""
        if not self.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def document(self, data: Any) -> None:
        """Print the one JSON document of `--json` on stdout; nothing without it."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print one line on stderr, unless quiet."""
        if not self.quiet:
            complain(text)


def complain(text: str) -> None:
    """Print one line on stderr, whatever the verbosity. A closed stderr is no reason to stop."""
    try:
        sys.stderr.write(one_line(without_secrets(text)) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        discard(sys.stderr)


@contextmanager
def prints_aside() -> Iterator[None]:
    """Within this block what networks and libraries print goes to stderr, be it written in Python or in C.

    stdout is for results: a `print` in somebody's network must not end up in the document of `--json`.
    """
    results = sys.stdout
    results.flush()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        if _is_descriptor_one(results):
            kept = os.dup(STDOUT)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, STDOUT)
            stack.callback(_flush_c)
            os.dup2(sys.stderr.fileno(), STDOUT)
        yield


def _is_descriptor_one(stream: TextIO) -> bool:
    """Whether a stream is the process's own stdout, and not one that a test or a notebook put there."""
    try:
        return stream.fileno() == STDOUT and sys.stderr.fileno() != STDOUT
    except (OSError, ValueError):
        return False


def _flush_c() -> None:
    """Write out what C code has printed and not yet written."""
    ctypes.CDLL(None).fflush(None)


def prepare_streams() -> None:
    """Make stdout and stderr such that writing to them never ends the program.

    A character that the terminal's encoding lacks is shown as "?", and a stream that the caller has closed
    (`2>&-`) is the null device.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _console(stream: TextIO, *, lasting: bool) -> Console:
    """A console that falls silent when nobody reads it (`lasting`), or raises BrokenPipeError then.

    Rich's own would point stdout to the null device, whichever stream it is, and end the program.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            if not lasting:
                raise
            self.quiet = True
            discard(stream)

    return PipeConsole(file=stream, emoji=False, markup=False)


def stdout_is_abandoned() -> bool:
    """Whether stdout is a pipe or a socket that nobody reads any more."""
    poller = select.poll()
    poller.register(sys.stdout, 0)  # errors are always reported
    return any(events & select.POLLERR for _, events in poller.poll(0))


def discard(stream: TextIO) -> None:
    """Point `stream` to the null device: what it still holds would raise once more when it is closed."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
