"""`grandopt cache`: look after a cache folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.runtime.cache.levels.disk import DiskLevel

cache = typer.Typer(rich_markup_mode=None, add_completion=False)
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a cache on disk.")]


@cache.callback()
def _group() -> None:
    """Look after a cache folder."""


@contextmanager
def _opened(folder: Path) -> Iterator[DiskLevel]:
    from grandopt.runtime.cache.levels.disk import DiskLevel
    from grandopt.runtime.cache.levels.folder import is_cache

    if not is_cache(folder):
        raise ConfigError(f"{folder}: there is no cache in this folder")
    disk = DiskLevel(folder)
    try:
        yield disk
    finally:
        disk.close()


@cache.command()
def stats(folder: Folder, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show how much a cache folder holds.

    Hits and misses are counted by the processes that use it, and are in their `stats()`.
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    with _opened(folder) as disk:
        counts = disk.counts()
    terminal.lines([f"entries  {counts.entries}", f"bytes    {counts.bytes}"])
    terminal.document({"entries": counts.entries, "bytes": counts.bytes})


@cache.command()
def clear(folder: Folder, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Remove all entries of a cache folder; processes that use it go on."""
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    with _opened(folder) as disk:
        before = disk.counts().entries
        disk.clear()
    terminal.lines([f"removed {before} entries"])
    terminal.document({"removed": before})


@cache.command()
def check(folder: Folder, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> ExitCode:
    """Read every entry of a cache folder and remove what is damaged.

    The exit code is 1 if anything was.
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    with _opened(folder) as disk:
        findings = disk.check()
        entries = disk.counts().entries
    terminal.lines([*findings, f"{entries} sound entries"])
    terminal.document({"findings": findings, "entries": entries})
    return ExitCode.FAILED if findings else ExitCode.DONE
