"""Who calls what: the headers of a request, of which gRPC's clients repeat the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from grandopt.serving.grpc.http2.compression import ENCODINGS
from grandopt.serving.grpc.http2.frames import PROTOCOL_ERROR, StreamError
from grandopt.serving.grpc.http2.hpack import Decoder, Header, literal
from grandopt.serving.grpc.http2.methods import Asker, Method, Unary
from grandopt.serving.grpc.status import RESPONSE, trailers
from grandopt.serving.protocol.access import Access
from grandopt.serving.protocol.errors import Code, ProtocolError

REMEMBERED, LONGEST_REMEMBERED = 16, 256
"""Blocks that a connection keeps as read, and the bytes of one."""
_ACCEPTED = literal("grpc-accept-encoding", ",".join(ENCODINGS))
_GRPC = re.compile(rb"application/grpc(\+proto)?\s*(;|$)")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_FORBIDDEN = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Headers of a connection, which HTTP/2 has other words for."""


class Head(NamedTuple):
    """A request without its messages. `refused` are the headers with which it is answered where it is.

    `quick` says that it is a call of one request and one answer that may be computed at once.
    """

    method: Method
    asker: Asker
    encoding: str
    refused: bytes | None
    quick: bool


class Heads:
    """Reads those of one connection; `known` has what was read, by its bytes, as long as it is true."""

    def __init__(self, methods: Mapping[bytes, Method], access: Access, local: bool, most: int) -> None:
        self.known: dict[bytes, Head] = {}
        self._methods, self._access, self._local, self._most = methods, access, local, most
        self._decoder = Decoder()

    def skip(self, block: bytes) -> None:
        """Read headers for what they do to the table alone. Raises Http2Error."""
        self._decode(block)

    def read(self, block: bytes) -> Head:
        """The head that a block is. Raises Http2Error for one that cannot be read, and StreamError for
        one that is no request."""
        version = self._decoder.version
        headers = self._decode(block)
        found = self._refused(self._too_large()) if headers is None else self._head(headers)
        if version == self._decoder.version and len(block) <= LONGEST_REMEMBERED:
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known[block] = found
        return found

    def _decode(self, block: bytes) -> list[Header] | None:
        version = self._decoder.version
        headers = self._decoder.decode(block, self._most)
        if version != self._decoder.version:
            self.known.clear()  # the same bytes say something else now
        return headers

    def _head(self, headers: list[Header]) -> Head:
        pseudo, values = _split(headers)
        if pseudo[b":method"] != b"POST" or not _GRPC.match(values.get(b"content-type", b"")):
            # What is no call of gRPC is told so in HTTP's words.
            return Head(_NOTHING, _NOBODY, "identity", literal(":status", "415"), quick=False)
        asker = _asker(values, self._local)
        path = pseudo[b":path"]
        method = self._methods.get(path)
        if method is None:
            text = f"{path.decode(errors='replace')!r:.200} is no call of this server"
            return self._refused(ProtocolError(Code.UNSUPPORTED, text))
        encoding = values.get(b"grpc-encoding", b"identity").decode("latin-1")
        if encoding not in ENCODINGS:
            text = f"messages are compressed by {encoding!r:.40}; wanted {', '.join(ENCODINGS)}"
            return self._refused(ProtocolError(Code.UNSUPPORTED, text), _ACCEPTED)
        if method.guarded and self._access.for_all:
            try:
                self._access.check(asker.authorization, changes=False, local=self._local, browser=False)
            except ProtocolError as error:
                return self._refused(error)
        return Head(method, asker, encoding, None, quick=isinstance(method, Unary) and method.at_once)

    def _too_large(self) -> ProtocolError:
        return ProtocolError(Code.HEADERS, f"the metadata has more than {self._most} bytes, the limit")

    def _refused(self, error: ProtocolError, more: bytes = b"") -> Head:
        return Head(_NOTHING, _NOBODY, "identity", RESPONSE + trailers(error) + more, quick=False)


def _split(headers: list[Header]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """What HTTP/2 says with headers, and all others, of which the first of a name counts."""
    pseudo: dict[bytes, bytes] = {}
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name[:1] == b":":
            if values or name in pseudo:
                raise StreamError(PROTOCOL_ERROR, f"header {name!r:.40} is at the wrong place")
            pseudo[name] = value
        elif not name or name in _FORBIDDEN or name != name.lower():
            raise StreamError(PROTOCOL_ERROR, f"header {name!r:.40} is none of HTTP/2")
        else:
            values.setdefault(name, value)
    if not {b":method", b":path", b":scheme"} <= pseudo.keys():
        raise StreamError(PROTOCOL_ERROR, "a request without method, scheme and path")
    return pseudo, values


def _asker(values: dict[bytes, bytes], local: bool) -> Asker:
    timeout = None
    if (given := values.get(b"grpc-timeout")) is not None:
        found = _TIMEOUT.fullmatch(given)
        if found is None:
            raise StreamError(PROTOCOL_ERROR, f"grpc-timeout is {given!r:.40}")
        timeout = int(found[1]) * _UNITS[found[2]]
    authorization = values.get(b"authorization")
    return Asker(
        timeout,
        None if authorization is None else authorization.decode("latin-1"),
        local,
        values.get(b"triton_grpc_error") == b"true",
    )


_NOBODY = Asker(None, None, local=False, ends_on_error=False)
_NOTHING = Method()
