"""The wire format: every number there and back, and nothing else than messages read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.serving.grpc.wire import field, fields, read_varint, signed, varint, varints
from grandopt.serving.protocol.errors import Code, ProtocolError

NUMBERS = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 63).map(lambda bit: 1 << bit), st.integers(0, 300)
)


@given(NUMBERS)
@settings(max_examples=200, deadline=None)
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    data = varint(number)
    assert read_varint(b"x" + data + b"y", 1) == (number, 1 + len(data))


def test_negative_numbers_take_ten_bytes() -> None:
    for number in (-1, -(2**63), -1234567):
        data = varint(number)
        assert len(data) == 10
        assert signed(read_varint(data, 0)[0]) == number


@given(st.lists(NUMBERS, max_size=40))
@settings(max_examples=100, deadline=None)
def test_packed_numbers_are_read_at_once(numbers: list[int]) -> None:
    np.testing.assert_array_equal(varints(b"".join(map(varint, numbers))), np.array(numbers, np.uint64))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80", "ends within a number"),
        (b"\x08", "ends within a number"),
        (b"\x08\x80", "ends within a number"),
        (b"\x08" + b"\x80" * 10, "a number is too long"),
        (b"\x0a", "ends within a number"),
        (b"\x0a\x05abcd", "ends within a field"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends within a field"),
        (b"\x0d\x00\x00\x00", "ends within a field"),
        (b"\x09" + bytes(7), "ends within a field"),
        (b"\x00\x00", "field number 0"),
        (b"\x02\x00", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0c", "wire type 4"),
        (b"\x0e", "wire type 6"),
        (b"\xf8\xff\xff\xff\xff\x01\x00", "field number"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why) as refusal:
        list(fields(data))
    assert refusal.value.code is Code.INVALID


def test_fields_are_counted() -> None:
    assert len(list(fields(b"\x08\x01" * 5, 5))) == 5
    with pytest.raises(ProtocolError, match="more than 5 fields"):
        list(fields(b"\x08\x01" * 6, 5))


def test_packed_numbers_that_end_early_are_refused() -> None:
    with pytest.raises(ProtocolError, match="ends within a number"):
        varints(b"\x01\x80")
    with pytest.raises(ProtocolError, match="too long"):
        varints(b"\x80" * 11 + b"\x01")


def test_a_field_of_any_length_comes_back() -> None:
    for size in (0, 1, 127, 128, 20_000):
        assert list(fields(field(3, bytes(size)) + field(2000, b"z"))) == [
            (3, 2, bytes(size)),
            (2000, 2, b"z"),
        ]
