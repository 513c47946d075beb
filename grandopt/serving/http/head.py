"""The head of a request: its line and its headers, with all that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

import httptools

from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.protocol.errors import Code, ProtocolError

HEADER_LENGTH = "inference-header-content-length"
CODINGS = ("gzip", "deflate")
CHUNKED = -1
_NUMBER = 18
"""Digits of a length; more would be more bytes than there are."""


class Head(NamedTuple):
    """One request without its body.

    `path` is as it was sent, `length` that of the body in bytes (CHUNKED where it comes in chunks), `coding`
    how it is compressed ("" if it is not), `accepts` the best compression that the client takes.
    `json_length` is the length of the JSON text before binary tensors. `browser` says that a web page sent
    it, `expects` that the client waits for leave to send the body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    length: int
    keep_alive: bool
    old: bool
    coding: str
    accepts: str
    json_length: int | None
    browser: bool
    expects: bool
    lasting: bool
    """Whether the connection goes on after the answer, as it does with HTTP/1.1 unless somebody says so."""


class _Recorder:
    """What the parser tells of a head."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.refused: ProtocolError | None = None

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_head(text: bytes, limits: HttpLimits) -> Head:
    """The head that `text` is, which ends with its empty line; raises ProtocolError for what is none."""
    recorder = _Recorder(limits)
    parser = httptools.HttpRequestParser(recorder)
    try:
        parser.feed_data(text)
    except httptools.HttpParserUpgrade:
        pass  # answered like any other: nothing else is spoken here
    except httptools.HttpParserError as error:
        raise ProtocolError(Code.INVALID, f"not an HTTP request: {str(error) or 'malformed'}"[:200]) from None
    if not recorder.complete:
        raise ProtocolError(Code.INVALID, "not an HTTP request: its head does not end")
    if len(recorder.url) > limits.url_bytes:
        raise ProtocolError(Code.INVALID, f"the URL is longer than {limits.url_bytes} bytes")
    if len(recorder.headers) > limits.headers:
        raise ProtocolError(Code.HEADERS, f"more than {limits.headers} headers")
    version = parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise ProtocolError(Code.INVALID, f"HTTP/{version} is not spoken here, only 1.1 and 1.0")
    headers = _joined(recorder.headers)
    path, query = _target(recorder.url)
    words = {word.strip() for word in headers.get("connection", "").lower().split(",")}
    keep_alive = "close" not in words and (version == "1.1" or "keep-alive" in words)
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        length=_length(headers),
        keep_alive=keep_alive,
        old=version == "1.0",
        coding=_coding(headers.get("content-encoding", "")),
        accepts=_accepted(headers.get("accept-encoding", "")),
        json_length=None if HEADER_LENGTH not in headers else _number(headers, HEADER_LENGTH),
        browser="origin" in headers or headers.get("sec-fetch-site", "none") != "none",
        expects=headers.get("expect", "").lower() == "100-continue",
        lasting=keep_alive and version == "1.1",
    )


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case; those that come more than once as one list."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in found and key in (HEADER_LENGTH, "authorization", "content-length", "host"):
            raise ProtocolError(Code.INVALID, f"the header {key} came twice")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _target(url: bytes) -> tuple[str, dict[str, str]]:
    """The path as it was sent, and the query decoded."""
    if not url.startswith(b"/"):  # as it is sent to a proxy
        try:
            parts = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            raise ProtocolError(Code.INVALID, f"not a URL: {url!r:.80}") from None
        path, query = parts.path or b"/", parts.query or b""
    else:
        path, _, query = url.partition(b"#")[0].partition(b"?")
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None)
    return path.decode("latin-1"), dict(pairs)


def decoded(segment: str) -> str:
    """A part of a path, percent-decoded; raises ProtocolError where that is no UTF-8."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ProtocolError(Code.INVALID, f"{segment!r:.80} in the path is no UTF-8") from None


def _length(headers: Mapping[str, str]) -> int:
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise ProtocolError(
                Code.UNSUPPORTED, f"Transfer-Encoding {coding!r:.40} is not known, only chunked"
            )
        return CHUNKED
    return _number(headers, "content-length") if "content-length" in headers else 0


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers[name]
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER):
        raise ProtocolError(Code.INVALID, f"the header {name} must be a number of bytes, got {text!r:.40}")
    return int(text)


def _coding(text: str) -> str:
    word = text.lower()
    if word in ("", "identity"):
        return ""
    if word not in CODINGS:
        raise ProtocolError(
            Code.UNSUPPORTED, f"Content-Encoding {text!r:.40} is not known, only gzip and deflate"
        )
    return word


def _accepted(text: str) -> str:
    """The compression with the highest weight, of two alike the first of CODINGS; "" for none."""
    best, chosen = 0.0, ""
    weights: dict[str, float] = {}
    for item in text.lower().split(","):
        word, _, parameter = item.strip().partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            weights[word.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
    for coding in CODINGS:
        weight = weights.get(coding, weights.get("*", 0.0))
        if weight > best:
            best, chosen = weight, coding
    return chosen
