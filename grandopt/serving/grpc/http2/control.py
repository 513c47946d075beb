"""Frames of a connection as a whole: settings, windows, pings, and calls that are given up."""

from __future__ import annotations

import struct

from grandopt.serving.grpc.http2.calls import Calls
from grandopt.serving.grpc.http2.frames import (
    ACK,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    INITIAL_WINDOW,
    LARGEST_MAX_FRAME,
    LARGEST_WINDOW,
    MAX_FRAME,
    PING,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SMALLEST_MAX_FRAME,
    WINDOW_UPDATE,
    Http2Error,
    frame,
)
from grandopt.serving.grpc.http2.output import Output
from grandopt.serving.grpc.http2.patience import Patience


class Control:
    """Of one connection, with its `calls`."""

    def __init__(self, out: Output, patience: Patience, calls: Calls) -> None:
        self._out, self._patience, self._calls = out, patience, calls

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Do what one says. Raises Http2Error."""
        opened = self._calls.last
        if kind == WINDOW_UPDATE:
            _require(len(payload) == 4 and stream <= opened)
            self._window(stream, int.from_bytes(payload, "big") & LARGEST_WINDOW)
        elif kind == RST_STREAM:
            _require(len(payload) == 4 and 0 < stream <= opened)
            self._calls.give_up(stream)
        elif kind == SETTINGS:
            _require(stream == 0 and len(payload) % 6 == 0 and not (flags & ACK and payload))
            if not flags & ACK:
                self._patience.idle(opened)
                self._settings(payload)
                self._out.parts.append(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            _require(stream == 0 and len(payload) == 8)
            if not flags & ACK:
                self._patience.ping(opened, bool(self._calls.open))
                self._out.parts.append(frame(PING, ACK, 0, payload))
        elif kind == PUSH_PROMISE:
            raise Http2Error(PROTOCOL_ERROR, "a client has nothing to push")
        elif kind != GOAWAY:  # a priority, or what HTTP/2 does not know and is to be left alone
            self._patience.idle(opened)

    def _window(self, stream: int, more: int) -> None:
        if more == 0:
            raise Http2Error(PROTOCOL_ERROR, "a window is opened by nothing")
        if not stream:
            self._out.opened(more)
        elif (call := self._calls.open.get(stream)) is not None:
            call.opened(more)

    def _settings(self, payload: bytes) -> None:
        out = self._out
        for kind, value in struct.iter_unpack(">HI", payload):
            if kind == INITIAL_WINDOW:
                if value > LARGEST_WINDOW:
                    raise Http2Error(FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                more, out.first_window = value - out.first_window, value
                for call in list(self._calls.open.values()):
                    call.opened(more)
            elif kind == MAX_FRAME and not SMALLEST_MAX_FRAME <= value <= LARGEST_MAX_FRAME:
                raise Http2Error(PROTOCOL_ERROR, f"frames of {value} bytes")


def _require(right: bool) -> None:
    if not right:
        raise Http2Error(FRAME_SIZE_ERROR, "a frame has the wrong size, or is of the wrong stream")
