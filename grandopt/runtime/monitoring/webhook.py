"""Alerts as JSON documents, posted to a URL by a thread of their own."""

from __future__ import annotations

import http.client
import json
import logging
import re
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.alerts import Alert
from grandopt.runtime.monitoring.delivery import Delivery

QUEUE = 100
"""Alerts that wait; of more, the oldest are dropped and counted."""
MOST_TRIES = 20
LONGEST_S = 3600.0
"""Of a pause and of the wait for an answer."""
CLOSING_S = 2.0
"""How long `close` waits for what is being sent."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WebhookStats:
    """Alerts that were taken by the other side, given up after all tries, dropped unsent, and waiting."""

    sent: int
    failed: int
    dropped: int
    waiting: int


class Webhook(Delivery):
    """Posts each alert to `url` with `headers`, up to `tries` times, a longer pause before each.

    A dead or slow receiver costs nothing but its own thread: at most QUEUE alerts wait for it. No log line
    has more of the URL than scheme and host, whose path is often the secret. Redirects are not followed.
    `wait` blocks for so many seconds, or until the end, and says whether it is the end. Raises ConfigError
    for a URL that is none, and for numbers that mean nothing.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        timeout_s: float = 5.0,
        tries: int = 3,
        pause_s: float = 1.0,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._place = _checked(url)
        if not (
            0 < timeout_s <= LONGEST_S and tries in range(1, MOST_TRIES + 1) and 0 <= pause_s <= LONGEST_S
        ):
            raise ConfigError(
                f"a webhook needs a timeout above 0 and a pause of 0 or more, each at most {LONGEST_S:g} s, "
                f"and 1 to {MOST_TRIES} tries; got timeout_s={timeout_s}, tries={tries}, pause_s={pause_s}"
            )
        self._url, self._headers = url, {**_checked_headers(headers), "Content-Type": "application/json"}
        self._timeout_s, self._tries, self._pause_s = timeout_s, tries, pause_s
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._ended = threading.Event()
        self._wait = self._ended.wait if wait is None else wait
        self._ready = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._sent = self._failed = self._dropped = 0

    def deliver(self, alert: Alert) -> None:
        body = json.dumps(document(alert)).encode()
        with self._ready:
            if self._ended.is_set():
                self._dropped += 1
                return
            if len(self._queue) >= QUEUE:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(body)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="grandopt-webhook", daemon=True)
                self._thread.start()
            self._ready.notify()

    def stats(self) -> WebhookStats:
        """What became of the alerts."""
        with self._ready:
            return WebhookStats(self._sent, self._failed, self._dropped, len(self._queue))

    def close(self) -> None:
        """Send what waits once, without pauses, for at most CLOSING_S seconds."""
        with self._ready:
            self._ended.set()
            self._ready.notify()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSING_S)

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._ended.is_set():
                    self._ready.wait()
                if not self._queue:
                    return
                body = self._queue.popleft()
            done = self._send(body)
            with self._ready:
                self._sent += done
                self._failed += not done

    def _send(self, body: bytes) -> bool:
        for number in range(self._tries):
            if number and self._wait(min(self._pause_s * 2 ** (number - 1), LONGEST_S)):
                break
            request = urllib.request.Request(self._url, body, self._headers, method="POST")
            try:
                with self._opener.open(request, timeout=self._timeout_s):
                    return True
            except urllib.error.HTTPError as error:
                problem = f"answered {error.code}"
                error.close()
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"cannot be reached ({type(error).__name__})"  # its words may hold the URL
        log.warning("an alert was not delivered: the webhook at %s %s", self._place, problem)
        return False


def document(alert: Alert) -> dict[str, Any]:
    """An alert as plain data: times in ISO 8601, UTC."""
    rule = alert.rule
    return {
        "alert": rule.name,
        "state": alert.state,
        "severity": rule.severity,
        "agent": alert.agent or None,
        "measure": rule.measure,
        "value": alert.value,
        "direction": rule.direction,
        "threshold": rule.threshold,
        "since": _time(alert.since),
        "at": _time(alert.at),
        "text": str(alert),
    }


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _checked(url: str) -> str:
    """Scheme and host of a URL that can be posted to; raises ConfigError, without its secrets, for others."""
    if not isinstance(url, str):
        raise ConfigError(f"a webhook's URL is text, such as https://host/path; got {type(url).__name__}")
    if any(not "!" <= character <= "~" for character in url):
        raise ConfigError(
            "the webhook's URL holds a blank or a character beyond ASCII; write it percent-encoded"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(
            "the webhook's URL cannot be read as one; it looks like https://host/path"
        ) from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            f"a webhook's URL begins with http:// or https:// and a host, got the scheme {parts.scheme!r}"
        )
    if parts.username is not None:
        raise ConfigError("the webhook's URL holds a user or password; give it as a header (Authorization)")
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers; raises ConfigError, without their values (often secrets), where one cannot be sent."""
    for name, value in headers.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ConfigError(f"{name!r} is no name of a header")
        if not (isinstance(value, str) and value.isprintable() and max(value, default=" ") <= "\xff"):
            raise ConfigError(f"the header {name} must be one line of text in Latin-1")
    return dict(headers)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
