"""What was wanted of a suite, and whether it was met, as a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from grandopt.cli.console import complain
from grandopt.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from grandopt.suites.server.suite import ServerBenchmark, ServerLine
    from grandopt.suites.serving.result import Line, ServingBenchmark


def with_verdicts(found: ServerBenchmark | ServingBenchmark) -> dict[str, Any]:
    """The result, each of its lines with `met`, which is derived."""
    document = asdict(found)
    lines: Sequence[Line | ServerLine] = found.lines
    for line, written in zip(lines, document["lines"], strict=True):
        written["met"] = line.met
    return document


def ended(found: ServingBenchmark, *, strict: bool) -> ExitCode:
    """FAILED where something was missed and that is `strict`, each of it said in a line on stderr."""
    if not (strict and found.missed):
        return ExitCode.DONE
    for line in found.missed:
        complain(f"error: {line.group}: {line.text}: {'missed' if line.met is False else line.reason}")
    return ExitCode.FAILED
