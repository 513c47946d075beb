"""`grandopt memory`: watch the memory of a process."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Annotated

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import ConfigError

MIB = 1 << 20

memory = typer.Typer(rich_markup_mode=None, add_completion=False)


@memory.callback()
def _group() -> None:
    """Watch the memory of a process."""


@memory.command()
def watch(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process to look at.")],
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", help="How long to look at it.")
    ] = 60.0,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", help="The time between readings.")
    ] = 1.0,
    least: Annotated[
        float, typer.Option("--least", metavar="MIB", help="Growth in MiB per minute that counts as a leak.")
    ] = 1.0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Watch the resident memory of a running process, and say whether it grows and how sure that is.

    The exit code is 1 if it does. Which objects grow only the process itself can tell: see Monitor in
    grandopt.runtime.memory.monitor.

    \b
    Example:
      grandopt memory watch 4711 --seconds 600 --interval 5
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    if not (0 < interval <= seconds < math.inf):
        raise ConfigError(f"--interval must be positive and at most --seconds, got {interval} and {seconds}")
    if not 0 <= least < math.inf:
        raise ConfigError(f"--least must be 0 or more, got {least}")
    from grandopt.runtime.memory.monitor import Monitor
    from grandopt.runtime.memory.resident import resident_reader
    from grandopt.runtime.memory.trend import FEWEST

    count = 1 + math.floor(seconds / interval)
    if count < FEWEST:
        raise ConfigError(f"{count} readings are too few for a trend; make it {FEWEST} or more")
    # Of another process nothing is known but what the system says.
    monitor = Monitor(keep=count, resident=resident_reader(pid), blocks=lambda: 0)
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number * interval - time.monotonic()))
        reading = monitor.read()
        if number == 0 or (number + 1) % max(1, count // 10) == 0:
            terminal.note(f"{number + 1}/{count}: {_mib(reading.resident.all)} resident")
    report, stats = monitor.leak(least=least * MIB / 60), monitor.stats()
    last = reading.resident
    terminal.lines(
        [
            f"resident      {_mib(last.all)}, at most {_mib(stats.peak)}",
            f"not shared    {_mib(last.unique)}",
            f"proportional  {_mib(last.proportional)}",
            f"{'leak' if report.leaking else 'no leak'}: {report.reason}",
        ]
    )
    terminal.document(
        {
            "leaking": report.leaking,
            "reason": report.reason,
            "peak_bytes": stats.peak,
            "last_bytes": asdict(last),
            "bytes_per_second": None if report.resident is None else asdict(report.resident),
        }
    )
    return ExitCode.FAILED if report.leaking else ExitCode.DONE


def _mib(size: int | None) -> str:
    return "not told by the system" if size is None else f"{size / MIB:.1f} MiB"
