"""The Huffman code of HTTP/2's headers (RFC 7541, appendix B)."""

from __future__ import annotations

from grandopt.serving.grpc.http2.frames import COMPRESSION_ERROR, Http2Error

_OF_LENGTH: dict[int, bytes] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("8184858688929a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: b"\n\r\x16",
}
"""Symbols by how many bits each takes: the code is canonical, so that these say all of it."""


def _codes() -> dict[int, int]:
    """The symbol of each code, which has a one before its first bit so that it keeps its length."""
    found: dict[int, int] = {}
    code = length = 0
    for bits, symbols in _OF_LENGTH.items():
        code <<= bits - length
        length = bits
        for symbol in symbols:
            found[1 << bits | code] = symbol
            code += 1
    return found


_CODES = _codes()
_LONGEST = max(_OF_LENGTH)
_START = 1
"""The state before a symbol: a one and no bit yet."""


class _Steps(dict[int, tuple[int, bytes]]):
    """From a state and the next four bits to the state after them, and what they ended; made when asked."""

    def __missing__(self, key: int) -> tuple[int, bytes]:
        state, out = key >> 4, b""
        for shift in (3, 2, 1, 0):
            state = state << 1 | (key >> shift & 1)
            symbol = _CODES.get(state)
            if symbol is not None:
                out += bytes((symbol,))
                state = _START
            elif state >> _LONGEST:
                raise Http2Error(COMPRESSION_ERROR, "a header has a Huffman code that ends nothing")
        self[key] = state, out
        return state, out


_STEPS = _Steps()


def decoded(data: bytes) -> bytes:
    """What the code stands for. Raises Http2Error where it is none."""
    state, parts = _START, bytearray()
    for byte in data:
        state, out = _STEPS[state << 4 | byte >> 4]
        parts += out
        state, out = _STEPS[state << 4 | byte & 15]
        parts += out
    # What is left over fills the last byte: less than eight bits, all ones.
    if state >> 8 or state & (state + 1):
        raise Http2Error(COMPRESSION_ERROR, "a header's Huffman code is not filled up with ones")
    return bytes(parts)
