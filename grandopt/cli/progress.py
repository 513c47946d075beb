"""A running job on stderr: a live line on a terminal, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from grandopt.cli.console import prints_aside
from grandopt.reporting.log import one_line

if TYPE_CHECKING:
    from grandopt.cli.console import Terminal
    from grandopt.workflows.events import Event

STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}

WIDE = 110
"""Columns from which on there is room for a bar."""

REFRESHES = 2
"""Per second: seldom, because drawing takes time from a core beside what is measured."""


class TimeLeft(ProgressColumn):
    """What is left of the agent's time budget, counted down."""

    def render(self, task: Task) -> Text:
        """See ProgressColumn."""
        ends = task.fields["ends"]
        return Text("" if ends is None else f"{max(0.0, ends - time.monotonic()):.0f} s left")


class ProgressDisplay:
    """A listener of a job's events. Use it as a context manager, so that the terminal is left in order.

    On a terminal one live line shows agent, step, what is left of the time budget, and what is being built or
    measured, which is cut where the terminal ends; only warnings and errors stay above it. Elsewhere every
    event is a line. Debug events are shown with `verbose` only; with `quiet` only errors are. What networks
    print while it is open goes to stderr, too.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._aside = ExitStack()
        self._console: Console = terminal.err
        self._live = self._console.is_terminal and not terminal.quiet and not terminal.verbose
        bar = [BarColumn(bar_width=20)] if self._console.width >= WIDE else []
        self._progress = Progress(
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            *bar,
            TextColumn("{task.fields[place]}", markup=False),
            TimeLeft(Column(no_wrap=True)),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            console=self._console,
            transient=True,
            disable=not self._live,
            expand=True,
            refresh_per_second=REFRESHES,
        )
        self._task = self._progress.add_task("", total=None, place="", ends=None)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._live:
            self._progress.update(
                self._task,
                place=one_line(f"{event.agent or 'all agents'} · {event.step}"),
                ends=None if event.remaining_s is None else time.monotonic() + event.remaining_s,
                description=one_line(event.message),
                completed=event.done,
                total=event.total or None,
            )
        if self._is_kept(event):
            line = Text(_line(event), style=STYLES[event.level])
            self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> ProgressDisplay:
        self._aside.enter_context(prints_aside())
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._aside.close()

    def _is_kept(self, event: Event) -> bool:
        if self._terminal.quiet:
            return event.level == "error"
        if event.level == "debug":
            return self._terminal.verbose
        return event.level != "info" or not self._live


def _line(event: Event) -> str:
    place = " ".join(word for word in (event.agent, event.step) if word)
    return one_line(f"{place}: {event.message}" if place else event.message)
