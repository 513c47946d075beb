"""The text formats, read back by Prometheus's own parsers, and several workers as one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from grandopt.errors import ConfigError
from grandopt.serving.metrics.families import OPENMETRICS, TEXT, Family, family, negotiated, render
from grandopt.serving.metrics.merge import merged, parsed

HOSTILE = 'quote " back \\ line\nend } ,'


def some() -> list[Family]:
    counter = family("own_requests_total", "counter", "Of grandopt, with a \\ and\na line.")
    counter.add([("agent", HOSTILE)], 3)
    theirs = family("nv_inference_count", "counter", "Without an end.")
    theirs.add([("model", "gate"), ("version", "1")], 1 << 52)
    gauge = family("own_rows", "gauge", "Now.")
    gauge.add([], 0.5)
    histogram = family("own_seconds", "histogram", "Times.")
    for limit, count in (("1e-06", 1), ("0.5", 2), ("+Inf", 4)):
        histogram.add([("agent", "gate"), ("le", limit)], count, "_bucket")
    histogram.add([("agent", "gate")], 4, "_count")
    histogram.add([("agent", "gate")], 2.25, "_sum")
    return [counter, theirs, gauge, histogram, family("nothing_total", "counter", "No sample.")]


def told(found: Iterable[Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels; the parser of the text format puts an end on counters that have none."""
    return {
        (
            s.name.replace("nv_inference_count_total", "nv_inference_count"),
            tuple(sorted(s.labels.items())),
        ): s.value
        for one in found
        for s in one.samples
    }


def test_both_formats_say_the_same_to_their_own_parsers() -> None:
    text = told(text_format(render(some(), TEXT).decode()))
    other = told(openmetrics(render(some(), OPENMETRICS).decode()))
    assert text == other
    assert text[("own_requests_total", (("agent", HOSTILE),))] == 3
    assert text[("nv_inference_count", (("model", "gate"), ("version", "1")))] == 1 << 52
    assert text[("own_seconds_sum", (("agent", "gate"),))] == 2.25
    assert len(text) == 8


def test_what_is_asked_for_is_given() -> None:
    assert negotiated("application/openmetrics-text;version=1.0.0,text/plain;q=0.5") == OPENMETRICS
    assert negotiated("*/*") == negotiated("") == TEXT


def test_numbers_that_are_none() -> None:
    one = family("x", "gauge", "x")
    for name, value in (("nan", math.nan), ("up", math.inf), ("down", -math.inf), ("large", 1e300)):
        one.add([("is", name)], value)
    assert render([one]).decode().splitlines()[2:] == [
        'x{is="nan"} NaN',
        'x{is="up"} +Inf',
        'x{is="down"} -Inf',
        'x{is="large"} 1e+300',
    ]


def test_the_text_is_read_back_as_it_was_written() -> None:
    assert parsed(render(some()).decode()) == [one for one in some() if one.samples]


def test_workers_add_up_but_what_is_the_machines() -> None:
    texts = []
    for requests, waiting, cores in ((5, 2, 8), (7, 3, 8)):
        counter = family("grandopt_requests_total", "counter", "x")
        counter.add([("agent", "gate")], requests)
        if cores == 8 and requests == 7:
            counter.add([("agent", "only here")], 1)
        rows = family("grandopt_queue_rows", "gauge", "x")
        rows.add([], waiting)
        granted = family("grandopt_process_granted_cores", "gauge", "x")
        granted.add([], cores)
        texts.append(render([counter, rows, granted]).decode())
    assert [one.samples for one in merged(texts)] == [
        {'grandopt_requests_total{agent="gate"}': 12, 'grandopt_requests_total{agent="only here"}': 1},
        {"grandopt_queue_rows": 5},
        {"grandopt_process_granted_cores": 8},
    ]
    assert merged([]) == []


@pytest.mark.parametrize(
    "text", ["stray 1\n", "# TYPE x gauge\ny 1\n", "# TYPE x gauge\nx one\n", "# TYPE x summary\nx 1\n"]
)
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="metrics"):
        merged([text])
