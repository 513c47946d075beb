"""What was wanted of a suite, and whether it was met, as a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
