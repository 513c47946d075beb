"""What `reproduce` found, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from grandopt.reporting.log import one_line
from grandopt.reporting.units import duration, ratio

if TYPE_CHECKING:
    from rich.console import RenderableType

    from grandopt.reporting.reproduction import AnswersReport, Difference, RemeasuredReport, Reproduction

STYLES = {"reproduced": "green", "differs": "red", "cannot": "yellow"}
DIGEST = 64
"""Digits of a SHA-256; people see the first 16."""


def reproduction_lines(results: Sequence[Reproduction], *, verbose: bool) -> list[RenderableType]:
    """Per agent the verdict, payload, answers, figures, and what differs; with `verbose` also the times."""
    parts: list[RenderableType] = []
    for item in results:
        head = Text.assemble((one_line(item.agent), "bold"), ": ", (item.verdict, STYLES[item.verdict]))
        head.append(f" ({one_line(item.label)})" if item.label is not None else "")
        parts += [head, *(Text(f"  {one_line(line)}") for line in _lines(item, verbose=verbose))]
    return parts


def _lines(item: Reproduction, *, verbose: bool) -> Iterator[str]:
    if item.reason is not None and item.verdict != "cannot":  # that one is an error line
        yield item.reason
    if item.payload_files:
        how = "byte by byte" if not item.renumbered else "but for names that are numbered anew each time"
        yield f"payload: {item.payload} of {item.payload_files} files are the same, {how}"
    if item.answers is not None:
        yield _answers(item.answers)
    elif item.no_answers is not None:
        yield f"answers: not compared: {item.no_answers}"
    if item.remeasured is not None:
        yield from _figures(item.remeasured)
    for difference in item.differences:
        yield f"differs: {_difference(difference)}"
    if verbose and item.stages:
        yield "time: " + ", ".join(f"{name} {duration(s * 1e6)}" for name, s in item.stages.items())


def _answers(found: AnswersReport) -> str:
    if found.identical == found.observations:
        return f"answers: the same bits for all {found.observations} observations"
    size = (
        "with NaN or infinity on one side"
        if found.largest is None or found.relative_l2 is None
        else f"largest difference {found.largest:.3g}, relative L2 {found.relative_l2:.3g}"
    )
    other = found.observations - found.identical
    return f"answers: other bits for {other} of {found.observations} observations, {size}"


def _figures(found: RemeasuredReport) -> Iterator[str]:
    then = "not recorded" if found.then is None else duration(found.then.p50_us)
    unsteady = ", unsteady" if found.now.stable is False else ""
    yield f"p50: {then} recorded, {duration(found.now.p50_us)} now{unsteady}"
    before = "not recorded" if found.speedup_then is None else f"{ratio(found.speedup_then)} recorded"
    yield f"speed-up over the original: {before}, {ratio(found.speedup_now)} now"
    if found.pace is not None:
        yield f"side by side: the new build runs at {ratio(found.pace)} the artifact's speed"
    if not found.same_machine:
        yield "this is not the machine that it was recorded on: times do not carry over, ratios may"


def _difference(item: Difference) -> str:
    return f"{item.what}: {_shown(item.then)} recorded, {_shown(item.now)} now"


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    is_digest = len(value) == DIGEST and all(char in "0123456789abcdef" for char in value)
    return f"{value[:16]}…" if is_digest else value
