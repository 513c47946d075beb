"""How long a client is waited for, and how much it may ask for that is worth nothing."""

from __future__ import annotations

from typing import Literal

from grandopt.serving.grpc.http2.frames import ENHANCE_YOUR_CALM, Http2Error
from grandopt.serving.grpc.options import GrpcOptions

MOST_IDLE, IDLE_PER_S = 1000, 33.0
"""Frames without use, and calls given up by their client, that it has at once, and more each second. Every
two calls earn one, too."""
STRIKES = 2
"""Pings that may come too early."""
GREETING_S = 10.0
"""For what a client says first."""


class Patience:
    """Of one connection; times are those of the service's ticks. `heard` is set whenever something comes."""

    def __init__(self, options: GrpcOptions, now: float) -> None:
        self.heard = False
        self._options, self._now = options, now
        self._greeting_by: float | None = now + GREETING_S
        self._writing_by: float | None = None
        self._pong_by: float | None = None
        self._heard_at = now
        self._ping_at = now - options.shortest_ping_interval_s
        self._credit = float(MOST_IDLE)
        self._strikes = self._opened = self._earned = 0

    def greeted(self) -> None:
        """The client has said what each says first."""
        self._greeting_by = None

    def paused(self) -> None:
        """It does not read what was written."""
        self._writing_by = self._now + self._options.request_s

    def resumed(self) -> None:
        """It does again."""
        self._writing_by = None

    def look(self, now: float) -> Literal["wait", "ping", "gone"]:
        """What to do with it now: cut it off, or ask whether it is still there."""
        self._credit = min(MOST_IDLE, self._credit + (now - self._now) * IDLE_PER_S)
        self._now = now
        if self.heard:
            self.heard, self._heard_at, self._pong_by = False, now, None
        if any(by is not None and by < now for by in (self._greeting_by, self._writing_by, self._pong_by)):
            return "gone"
        if self._pong_by is None and self._heard_at + self._options.keepalive_s < now:
            self._pong_by = now + self._options.keepalive_timeout_s
            return "ping"
        return "wait"

    def idle(self, opened: int) -> None:
        """A frame without any use has come, or a call was given up; `opened` is the last stream that there
        was. Raises Http2Error if too many do.
        """
        # Streams are counted by twos: of as many calls, half may be given up for ever.
        self._credit = min(MOST_IDLE, self._credit + (opened - self._earned) / 4) - 1
        self._earned = opened
        if self._credit < 0:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that ask nothing, or calls given up")

    def ping(self, opened: int, calls: bool) -> None:
        """A ping has come; `opened` is the last stream that there was, and calls are open or not. Raises
        Http2Error where pings come more often than they may without calls.
        """
        if calls or opened != self._opened:
            self._opened, self._strikes = opened, 0
        elif self._now - self._ping_at < self._options.shortest_ping_interval_s:
            self._strikes += 1
            if self._strikes > STRIKES:
                raise Http2Error(ENHANCE_YOUR_CALM, "too_many_pings")  # the words that clients look for
        self._ping_at = self._now
