"""One connection: frames as they arrive, in pieces of any size."""

from __future__ import annotations

import asyncio

from grandopt.serving.addresses import is_local
from grandopt.serving.grpc.http2.calls import Calls
from grandopt.serving.grpc.http2.control import Control
from grandopt.serving.grpc.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    HAS_PRIORITY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW,
    MAX_HEADER_LIST,
    MAX_STREAMS,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    SMALLEST_MAX_FRAME,
    STREAM_BITS,
    WINDOW_UPDATE,
    Http2Error,
    frame,
    goaway,
    number,
    settings,
    unpadded,
)
from grandopt.serving.grpc.http2.head import Heads
from grandopt.serving.grpc.http2.incoming import PREFIX
from grandopt.serving.grpc.http2.output import Output
from grandopt.serving.grpc.http2.patience import Patience
from grandopt.serving.grpc.http2.service import Service

_PRIORITY_BYTES = 5
_HEADS = HEAD_BYTES + PREFIX
"""Before a message that has a frame of its own."""
_unpack = HEAD.unpack_from


class Connection(asyncio.Protocol):
    """Belongs to the event loop."""

    def __init__(self, service: Service) -> None:
        self._service, self._options = service, service.options
        self._patience = Patience(service.options, service.now)
        self._transport: asyncio.Transport
        self._out: Output
        self._heads: Heads
        self._calls: Calls
        self._control: Control
        self._rest = PREFACE
        """What is not whole yet; before the greeting, what of it has not come."""
        self._greeted = self._closing = False

    # ---- what the transport says --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        service, options = self._service, self._options
        local = is_local(transport)
        self._out = Output(self._transport)
        self._heads = Heads(service.methods, options.access, local, options.max_metadata_bytes)
        self._calls = Calls(service, self._out, self._heads, self._patience, self._idle)
        self._control = Control(self._out, self._patience, self._calls)
        full = len(service.connections) >= options.max_connections
        service.connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.abort()
            return
        ours = {
            MAX_STREAMS: options.max_calls_per_connection,
            INITIAL_WINDOW: options.call_window,
            MAX_HEADER_LIST: options.max_metadata_bytes,
        }
        more = number(WINDOW_UPDATE, 0, options.connection_window - DEFAULT_WINDOW)
        self._out.parts.append(settings(ours) + more)
        if full:
            self._end(ENHANCE_YOUR_CALM, f"{options.max_connections} connections are open, the limit")
        elif service.stopping:
            self._end(NO_ERROR, "the server stops")
        self._out.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._service.connections.discard(self)
        self._calls.drop()

    def pause_writing(self) -> None:
        self._out.paused = True
        self._patience.paused()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._patience.resumed()
        self._out.resume()
        self._out.flush()
        if not (self._out.paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._patience.heard = True
        self._calls.begin_turn()
        try:
            if self._greeted:
                self._rest = self._read(self._rest + data if self._rest else data)
            else:
                self._greet(data)
        except Http2Error as error:
            self._end(error.code, str(error))
        self._out.flush()

    # ---- the connection as a whole ------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at what takes too long."""
        wanted = self._patience.look(now)
        if wanted == "gone":
            self.abort()
        elif wanted == "ping" and not self._closing:
            self._out.parts.append(frame(PING, 0, 0, bytes(8)))
            self._out.flush()

    def stop(self) -> None:
        """Take no more calls, and tell the client; close when those under way are over."""
        self._calls.stop()
        self._out.parts.append(goaway(self._calls.last, NO_ERROR, "the server stops"))
        self._out.flush()
        if not self._calls.open:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()

    def _end(self, code: int, why: str) -> None:
        """Tell the client why, and close."""
        if not self._closing:
            self._out.parts.append(goaway(self._calls.last, code, why))
            self._close()

    def _idle(self) -> None:
        """No call is open any more."""
        if self._service.stopping:
            asyncio.get_running_loop().call_soon(self._close)

    def _close(self) -> None:
        """Close when what was written is out; calls under way are given up."""
        if self._closing:
            return
        self._closing = True
        self._calls.drop()
        self._out.flush()
        self._patience.paused()
        self._transport.close()

    # ---- reading ------------------------------------------------------------------------------------------

    def _greet(self, data: bytes) -> None:
        """What each client says first."""
        size = min(len(data), len(self._rest))
        if data[:size] != self._rest[:size]:
            raise Http2Error(PROTOCOL_ERROR, "this is a port of gRPC, which is spoken over HTTP/2")
        self._rest = self._rest[size:]
        if not self._rest:
            self._greeted = True
            self._patience.greeted()
            self._rest = self._read(data[size:])

    def _read(self, data: bytes) -> bytes:
        """Read all frames that are whole; returns the rest."""
        at, size = 0, len(data)
        calls, known = self._calls, self._heads.known
        while size - at >= HEAD_BYTES and not self._closing:
            high, low, kind, flags, stream = _unpack(data, at)
            length, start = high << 8 | low, at + HEAD_BYTES
            if length > SMALLEST_MAX_FRAME:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {length} bytes was never allowed")
            end = start + length
            if end > size:
                break
            begin, at = at, end
            if calls.block is None:
                # What clients say nearly always, in as few steps as there are.
                if kind == HEADERS:
                    head = known.get(data[start:end])
                    if head is not None and head.quick and flags == END_HEADERS:
                        at = calls.quick(data, end, stream, head)
                        if at != end:
                            continue
                elif kind == DATA and length and flags <= END_STREAM:
                    call = calls.open.get(stream)
                    if call is not None:
                        # Three at least: two are cheaper one by one.
                        if (
                            call.lasting
                            and not flags
                            and length > PREFIX
                            and data[begin : begin + _HEADS]
                            == data[end : end + _HEADS]
                            == data[end + end - begin : end + end - begin + _HEADS]
                            and call.takes_many
                            and (at := calls.many(call, data, begin, end)) != begin
                        ):
                            continue
                        at = end
                        calls.data(call, data[start:end], bool(flags))
                        continue
            self._frame(kind, flags, stream & STREAM_BITS, data[start:end])
        return data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Any frame, in full."""
        calls = self._calls
        if calls.block is not None and (kind != CONTINUATION or calls.block[0] != stream):
            raise Http2Error(PROTOCOL_ERROR, "headers do not go on where they have to")
        if kind == DATA:
            self._data(flags, stream, payload)
        elif kind == HEADERS:
            found = unpadded(flags, payload)
            if flags & HAS_PRIORITY:
                if len(found) < _PRIORITY_BYTES:
                    raise Http2Error(FRAME_SIZE_ERROR, "headers end within their priority")
                found = found[_PRIORITY_BYTES:]
            calls.headers(stream, flags, bytearray(found))
        elif kind == CONTINUATION:
            if calls.block is None:
                raise Http2Error(PROTOCOL_ERROR, "headers go on that were not begun")
            _, first, block = calls.block
            block += payload
            self._patience.idle(calls.last)
            calls.headers(stream, first | flags & END_HEADERS, block)
        else:
            self._control.frame(kind, flags, stream, payload)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if not 0 < stream <= self._calls.last:
            raise Http2Error(PROTOCOL_ERROR, f"data of call {stream}, which was never opened")
        found, ended = unpadded(flags, payload), bool(flags & END_STREAM)
        if not found and not ended:
            self._patience.idle(self._calls.last)
        self._calls.count(len(payload) - len(found))
        call = self._calls.open.get(stream)
        if call is not None:
            self._calls.data(call, found, ended)
        else:  # it was ended here, or is now
            self._calls.count(len(found))
            self._calls.refuse(stream)
