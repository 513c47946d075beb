"""Header compression, by the examples of RFC 7541's appendix C and by blocks that are none."""

from __future__ import annotations

import random

import pytest

from grandopt.serving.grpc.http2 import huffman
from grandopt.serving.grpc.http2.frames import COMPRESSION_ERROR, Http2Error
from grandopt.serving.grpc.http2.hpack import STATIC, Decoder, literal

ASKED = [
    {":method": "GET", ":scheme": "http", ":path": "/", ":authority": "www.example.com"},
    {
        ":method": "GET",
        ":scheme": "http",
        ":path": "/",
        ":authority": "www.example.com",
        "cache-control": "no-cache",
    },
    {
        ":method": "GET",
        ":scheme": "https",
        ":path": "/index.html",
        ":authority": "www.example.com",
        "custom-key": "custom-value",
    },
]
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
HUFFMAN = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)


@pytest.mark.parametrize("blocks", [PLAIN, HUFFMAN], ids=["plain", "Huffman"])
def test_the_standards_requests_are_read(blocks: tuple[str, ...]) -> None:
    decoder = Decoder()
    for block, expected in zip(blocks, ASKED, strict=True):
        found = decoder.decode(bytes.fromhex(block), 4096)
        assert found is not None
        assert {name.decode(): value.decode() for name, value in found} == expected


def test_the_standards_table_is_bounded() -> None:
    """The responses of C.5, whose table has 256 bytes: what is added last drives out what was first."""
    blocks = (
        "3fe101"
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
    )
    decoder = Decoder()
    first, second = (dict(decoder.decode(bytes.fromhex(block), 4096) or ()) for block in blocks)
    assert first[b":status"] == b"302"
    assert second == first | {b":status": b"307"}
    with pytest.raises(Http2Error, match="in no table"):
        decoder.decode(bytes((0x80 | len(STATIC) + 5,)), 4096)


def test_same_bytes_are_the_same_until_the_table_changes() -> None:
    decoder = Decoder()
    decoder.decode(bytes.fromhex("4001610162"), 4096)  # a: b is added
    version = decoder.version
    assert decoder.decode(b"\xbe", 4096) == [(b"a", b"b")]
    assert decoder.version == version
    decoder.decode(bytes.fromhex("4001630164"), 4096)
    assert decoder.version != version
    assert decoder.decode(b"\xbe", 4096) == [(b"c", b"d")]
    decoder.decode(b"\x20", 4096)  # a table of nothing
    with pytest.raises(Http2Error):
        decoder.decode(b"\xbe", 4096)


def test_a_small_block_of_large_headers_is_not_made_large() -> None:
    """Each byte stands for an entry of 3,000 bytes; the table goes on as the client has it."""
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x7f\xb9\x16" + b"x" * 3000, 1 << 20)
    assert decoder.decode(b"\xbe" * 10_000, 16_384) is None
    assert decoder.decode(b"\xbe" * 10_000 + b"\x40\x01c\x01d", 16_384) is None
    assert decoder.decode(b"\xbe", 4096) == [(b"c", b"d")]


@pytest.mark.parametrize(
    "block",
    [
        *("80", "ff", "ff8080808080808001", "be", "4001", "40016105", "400161", "0001", "3fe21f", "8220"),
        # Huffman codes: a symbol for the end, filled up with zeros, and by more than a byte.
        *("00016184ffffffff", "0001618118", "000161821fff"),
    ],
)
def test_blocks_that_are_none_are_refused(block: str) -> None:
    with pytest.raises(Http2Error) as error:
        Decoder().decode(bytes.fromhex(block), 4096)
    assert error.value.code == COMPRESSION_ERROR


def test_any_bytes_are_headers_or_refused() -> None:
    chance = random.Random(1)
    read = 0
    for _ in range(3000):
        decoder = Decoder()
        seed = bytes.fromhex(chance.choice((*PLAIN[:1], *HUFFMAN[:1])))
        block = bytearray(seed + chance.randbytes(chance.randrange(30)))
        block[chance.randrange(len(block))] = chance.randrange(256)
        try:
            read += decoder.decode(bytes(block), 4096) is not None
        except Http2Error as error:
            assert error.code == COMPRESSION_ERROR  # noqa: PT017
        assert decoder._size <= 4096
    assert 0 < read < 3000


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 5000])
def test_what_is_written_is_read(size: int) -> None:
    assert Decoder().decode(literal("a-name", "v" * size), 1 << 20) == [(b"a-name", b"v" * size)]


def test_the_code_has_every_symbol_once_and_wastes_nothing() -> None:
    codes = huffman._CODES
    assert sorted(codes.values()) == list(range(256))
    # With the end's, of 30 bits, all codes together are as many as there can be.
    assert sum(2.0 ** (1 - code.bit_length()) for code in codes) + 2.0**-30 == 1.0
    for symbol, code, bits in (
        (ord("a"), 0x3, 5),
        (0, 0x1FF8, 13),
        (255, 0x3FFFFEE, 26),
        (22, 0x3FFFFFFE, 30),
    ):
        assert codes[1 << bits | code] == symbol
