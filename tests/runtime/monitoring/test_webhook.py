"""Alerts arrive at a real HTTP server, and a dead or slow one holds nobody up."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.alerts import Alert, Rule
from grandopt.runtime.monitoring.webhook import LONGEST_S, QUEUE, Webhook

ALERT = Alert(Rule("deep", "depth", 10, for_s=3, severity="critical"), "gate", "firing", 12.0, 1000.0, 1003.0)


@contextmanager
def server(statuses: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A server that answers with each status in turn, the last one from then on; what it was sent."""
    received: list[tuple[dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers), json.loads(body)))
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/services/T0/secret-token", received
        finally:
            running.shutdown()
            thread.join()


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    assert condition()


def test_an_alert_arrives_as_json_with_headers() -> None:
    with server([200]) as (url, received):
        hook = Webhook(url, headers={"Authorization": "Bearer x"})
        hook.deliver(ALERT)
        hook.close()
        assert hook.stats().sent == 1
    ((headers, document),) = received
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"
    assert document == {
        "alert": "deep",
        "state": "firing",
        "severity": "critical",
        "agent": "gate",
        "measure": "depth",
        "value": 12.0,
        "direction": "above",
        "threshold": 10,
        "since": "1970-01-01T00:16:40.000+00:00",
        "at": "1970-01-01T00:16:43.000+00:00",
        "text": str(ALERT),
    }


def test_a_failure_is_tried_again_after_growing_pauses() -> None:
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    with server([500, 503, 200]) as (url, received):
        hook = Webhook(url, wait=wait)
        hook.deliver(ALERT)
        until(lambda: hook.stats().sent == 1)
        hook.close()
    assert len(received) == 3
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("status", [500, 302])
def test_giving_up_is_logged_once_without_the_secret(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with server([status]) as (url, received), caplog.at_level(logging.WARNING):
        hook = Webhook(url, tries=2, wait=lambda _: False)
        hook.deliver(ALERT)
        until(lambda: hook.stats().failed == 1)
        hook.close()
        port = url.split("/")[2]
    assert len(received) == 2
    (record,) = caplog.records
    assert record.getMessage() == (
        f"an alert was not delivered: the webhook at http://{port} answered {status}"
    )


def test_a_dead_receiver_blocks_nobody_and_its_queue_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    # Port 9 is that of the discard protocol, which nothing serves here: the connection is refused.
    hook = Webhook(
        "http://127.0.0.1:9/key", tries=2, timeout_s=0.5, wait=lambda _: released.wait(10) and False
    )
    began = time.monotonic()
    for _ in range(3 * QUEUE):
        hook.deliver(ALERT)
    assert time.monotonic() - began < 5
    stats = hook.stats()
    assert stats.waiting <= QUEUE
    assert stats.dropped >= 3 * QUEUE - stats.waiting - 1
    released.set()
    hook.close()
    hook.deliver(ALERT)
    assert hook.stats().dropped == stats.dropped + 1
    assert "key" not in caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a", "begins with http:// or https://"),
        ("http:///path", "begins with http:// or https://"),
        ("nonsense", "begins with http:// or https://"),
        ("https://user:pass@host/", "give it as a header"),
        ("http://[::1/", "cannot be read as one"),
        ("http://host/a b", "percent-encoded"),
        ("http://host/\u20ac", "percent-encoded"),
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Webhook(url)
    assert "pass@" not in str(caught.value)


def test_numbers_that_mean_nothing_are_refused() -> None:
    for options in (
        {"timeout_s": 0.0},
        {"timeout_s": 1e12},
        {"tries": 0},
        {"tries": 2.5},
        {"tries": math.inf},
        {"pause_s": -1.0},
        {"pause_s": 1e12},
    ):
        with pytest.raises(ConfigError, match="a webhook needs"):
            Webhook("http://host", **options)


@pytest.mark.parametrize(
    "headers", [{"a b": "c"}, {"": "c"}, {3: "c"}, {"a": 3}, {"a": None}, {"a": "key\nb"}, {"a": "key\u20ac"}]
)
def test_a_header_that_cannot_be_sent_is_refused(headers: Any) -> None:
    with pytest.raises(ConfigError, match="header") as caught:
        Webhook("http://host", headers=headers)
    assert "key" not in str(caught.value)


def test_pauses_grow_to_a_bound() -> None:
    pauses: list[float] = []
    hook = Webhook("http://127.0.0.1:9/", tries=20, wait=lambda pause: pauses.append(pause) or False)  # type: ignore[func-returns-value]
    hook.deliver(ALERT)
    until(lambda: hook.stats().failed == 1)
    hook.close()
    assert pauses[:3] == [1, 2, 4]
    assert max(pauses) == pauses[-1] == LONGEST_S
