"""Messages that were compressed by their sender."""

from __future__ import annotations

import zlib

from grandopt.serving.protocol.errors import Code, ProtocolError

ENCODINGS = ("identity", "deflate", "gzip")
_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def inflated(data: bytes, flag: int, encoding: str, limit: int) -> bytes:
    """A message that is marked with `flag` as compressed by the `encoding` of its call.

    Raises ProtocolError where it is not, and for one of more than `limit` bytes.
    """
    if flag != 1 or encoding == "identity":
        raise ProtocolError(
            Code.INTERNAL, "a message is marked as compressed, and the call names no grpc-encoding"
        )
    inflate = zlib.decompressobj(_WBITS[encoding])
    try:
        found = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise ProtocolError(Code.INVALID, f"a message is no {encoding}: {error}") from error
    if len(found) > limit:
        raise ProtocolError(Code.TOO_LARGE, f"a message has more than {limit} bytes, the limit")
    if not inflate.eof or inflate.unused_data:
        raise ProtocolError(Code.INVALID, f"a message is not one whole {encoding}")
    return found
