"""The command of a run, changed in one place: what a recommendation says to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grandopt.reporting.report import Report

PROGRAM = "grandopt"

FLAGS = (
    *("--json", "--quiet", "-q", "--verbose", "-v", "--trust", "--strict", "--no-strict", "--resume"),
    *("--no-resume", "--operators", "--run-into"),
)
"""Options without a value."""

OF_OPTIMIZE = (
    *("--config", "--agent", "--profile", "--output", "--samples", "--engine", "--precision", "--threads"),
    *("--budget", "--seed", "--key", "--network", "--input", "--vecnormalize", "--trust", "--fix"),
    *("--outputs", "--state", "--framework", "--activation", "--statistics", "--action-bounds"),
    "--distribution",
)
"""What `optimize`, `benchmark` and `tune` all take."""


def changed_command(
    report: Report,
    agent: str,
    changes: Mapping[str, str | None] | None = None,
    *,
    to: str | None = None,
    flags: Sequence[str] = (),
) -> tuple[str, ...]:
    """The report's command for one agent alone, with options set (or, for None, left out).

    `flags` are options without a value to add. `to` names another command of the three that take a job;
    options that not all of them have are dropped. Of a run that was called from Python,
    `grandopt.optimize`, it is the call with these arguments, or nothing where `to` is another command.
    """
    command = report.command
    if command[:1] != (PROGRAM,) or len(command) < 2:
        return _call(changes or {}, agent) if to is None else ()
    wanted = {**(changes or {}), **({"--agent": agent} if len(report.agents) > 1 else {})}
    words = _without(command[2:], wanted, only=OF_OPTIMIZE if to is not None else None)
    added = [word for name, value in wanted.items() if value is not None for word in (name, value)]
    return (PROGRAM, to or command[1], *words, *added, *flags)


def _call(changes: Mapping[str, str | None], agent: str) -> tuple[str, ...]:
    """Arguments as Python writes them; those of the command line have the same names."""
    names = {"--budget": "budget_s"}
    shown = [
        f"{names.get(name, name.removeprefix('--'))}={value if _is_number(value) else repr(value)}"
        for name, value in changes.items()
        if value is not None
    ]
    return (f"grandopt.optimize({', '.join(['model', 'example_input', f'name={agent!r}', *shown])})",)


def _without(
    words: Sequence[str], dropped: Mapping[str, str | None], only: Sequence[str] | None
) -> list[str]:
    """The words of a command line without some options and their values; with `only`, no others either."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if not name.startswith("-") or name == "-":
            kept.append(word)
            continue
        value = (
            [] if equals or name in FLAGS else [found for found in [next(rest, None)] if found is not None]
        )
        if name not in dropped and (only is None or name in only):
            kept += [word, *value]
    return kept


def _is_number(value: str | None) -> bool:
    return value is not None and value.replace(".", "", 1).isdecimal()
