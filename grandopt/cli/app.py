"""The command line: its commands, and the one place where errors become exit codes.

A command returns its `ExitCode`, or None when all is done. What it raises becomes one clear line on stderr.
"""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli.console import complain, discard, prepare_streams, stdout_is_abandoned
from grandopt.cli.exit_codes import ExitCode
from grandopt.errors import GrandoptError, InputError
from grandopt.limits import shortened
from grandopt.private import without_words

COMMANDS = (
    "optimize",
    "benchmark",
    "tune",
    "compare",
    "inspect",
    "export",
    "reproduce",
    "sign",
    "verify",
    "serve",
    "plan",
    "doctor",
    "init",
)
GROUPS = ("deploy", "report", "baseline", "cache", "memory")


def command_line(first: str = "") -> typer.Typer:
    """The command or group of the name `first`; all of them where there is none, for help and hints."""
    # Plain help: it looks the same in a pipe, and Rich need not be imported for it.
    app = typer.Typer(
        name="grandopt",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(grandopt)
    known = (*COMMANDS, *GROUPS)
    for name in (first,) if first in known else known:
        found = getattr(import_module(f"grandopt.cli.commands.{name}"), name)
        if name in GROUPS:
            app.add_typer(found, name=name)
        else:
            app.command()(found)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"grandopt {version('grandopt')}")
        raise typer.Exit


def grandopt(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make small trained PyTorch agents as fast as this machine allows, and prove that they are the same.

    \b
    Example:
      grandopt optimize              ./grandopt.yaml, or the reference agents
      grandopt optimize ppo-Ant.zip  an agent of Stable-Baselines3
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    prepare_streams()
    words = list(sys.argv[1:] if args is None else args)
    try:
        return _run(words)
    except typer.TyperException as error:
        return _refused(without_words(_usage(error), words), ExitCode.BAD_INPUT)
    except InputError as error:
        return _refused(without_words(str(error), words), ExitCode.BAD_INPUT)
    except GrandoptError as error:
        return _refused(without_words(str(error), words), ExitCode.FAILED)
    except KeyboardInterrupt:
        return _refused("interrupted", ExitCode.INTERRUPTED)
    except OSError as error:
        return _system(error, words)
    except Exception as error:  # noqa: BLE001 - the outermost frame: what arrives here is a bug, and is said to be
        return _bug(error, words)


def _run(words: list[str]) -> int:
    # Not `Command.main`: it takes every EPIPE for a closed stdout and exits with 1 without a word.
    command = typer.main.get_command(command_line(words[0] if words else ""))
    try:
        with command.make_context("grandopt", words) as context:
            _collect_again()
            return command.invoke(context) or ExitCode.DONE
    except typer.Exit as finished:
        return finished.exit_code


def _collect_again() -> None:
    """Garbage is looked for from here on, where the program has put that off while it imported."""
    if not gc.isenabled():
        gc.freeze()  # what was imported is none
        gc.enable()


def _refused(message: str, code: int) -> int:
    complain(f"error: {message}")
    return code


def _system(error: OSError, words: list[str]) -> int:
    """What the system refused and no part of grandopt expected: three are no bug of anybody."""
    if error.errno == errno.EPIPE and stdout_is_abandoned():
        discard(sys.stdout)
        return ExitCode.READER_GONE
    if error.errno == errno.ENAMETOOLONG:
        return _refused(f"{shortened(Path(str(error.filename)))}: {error.strerror}", ExitCode.BAD_INPUT)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        discard(sys.stdout)
        place = f"{error.filename}: " if error.filename else ""
        return _refused(f"{place}cannot be written ({error.strerror}); make room", ExitCode.BAD_INPUT)
    return _bug(error, words)


def _usage(error: typer.TyperException) -> str:
    """Typer's message as one line, with the place of the right usage."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "grandopt"
    return f"{message[:1].lower()}{message[1:]} (usage: `{command} --help`)"


def _bug(error: Exception, words: list[str]) -> int:
    show = "--verbose" in words or "-v" in words
    trace = without_words("".join(traceback.format_exception(error)), words)
    cause = without_words("".join(traceback.format_exception_only(error)).splitlines()[0], words)
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="grandopt-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(trace)
        place = f"the traceback is in {Path(file.name)}"
    except OSError as problem:
        show, place = True, f"the traceback could not be saved ({problem.strerror}) and follows"
    complain(f"error: this is a bug in grandopt: {cause}; {place}")
    if show:
        for line in trace.splitlines():
            complain(line)
    return ExitCode.BUG
