"""Families of metrics, and the two text formats that a scraper may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TOTAL = "_total"


@dataclass(frozen=True)
class Family:
    """A metric with all its samples.

    `name` is as the text format has it, so a counter of grandopt's ends in `_total`, and one of Triton's does
    not. `samples` hold the value under what stands before it in the text: the name, with the suffix of a
    histogram's part, and the labels.
    """

    name: str
    kind: Kind
    help: str
    samples: dict[str, float]

    def add(self, labels: Iterable[tuple[str, str]], value: float, suffix: str = "") -> None:
        """Put a sample with these labels in the place of one that has the same."""
        self.samples[self.name + suffix + label_text(labels)] = value


def family(name: str, kind: Kind, text: str) -> Family:
    """A family without a sample yet."""
    return Family(name, kind, text, {})


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand in the text, such as `{model="gate",version="1"}`; nothing for none."""
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""


def negotiated(accept: str) -> str:
    """The content type for a request's Accept header: OpenMetrics for who names it, else the text format."""
    return OPENMETRICS if "application/openmetrics-text" in accept else TEXT


def render(families: Iterable[Family], content_type: str = TEXT) -> bytes:
    """The families that have a sample, in the format of that content type, which is TEXT or OPENMETRICS."""
    if content_type == OPENMETRICS:
        return "".join([*(line for one in families for line in _openmetrics(one)), "# EOF\n"]).encode()
    return "".join(line for one in families for line in _text(one)).encode()


def _text(one: Family) -> Iterator[str]:
    if not one.samples:
        return
    yield f"# HELP {one.name} {_help(one.help)}\n"
    yield f"# TYPE {one.name} {one.kind}\n"
    yield from _samples(one)


def _openmetrics(one: Family) -> Iterator[str]:
    """There a counter's samples end in `_total` and its family does not; Triton's have no such end, and are
    of unknown type."""
    if not one.samples:
        return
    name, kind = one.name, str(one.kind)
    if kind == "counter":
        name, kind = (name.removesuffix(TOTAL), kind) if name.endswith(TOTAL) else (name, "unknown")
    yield f"# HELP {name} {_help(one.help, quotes=True)}\n"
    yield f"# TYPE {name} {kind}\n"
    yield from _samples(one)


def _samples(one: Family) -> Iterator[str]:
    return (f"{where} {number(value)}\n" for where, value in one.samples.items())


def number(value: float) -> str:
    """A value as the text has it: whole numbers without a point, and NaN and infinity by the format's
    names."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
