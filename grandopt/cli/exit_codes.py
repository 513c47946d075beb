"""What the exit code of a command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The codes of every command. A command returns one, or None for DONE; `app.py` maps errors to them."""

    DONE = 0
    FAILED = 1
    """A check failed: a regression, a target missed with `--strict`, an agent that failed."""
    BAD_INPUT = 2
    """Usage, or a file that cannot be used."""
    INCONCLUSIVE = 3
    """The measurement was too unstable to decide."""
    BUG = 70
    """An error that grandopt did not raise on purpose (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C: what a shell reports for a program that SIGINT ended."""
    READER_GONE = 141
    """Whoever read the output has stopped reading: what a shell reports for SIGPIPE."""
