"""Messages that are the same but for an id and their numbers, as those of one client are.

Where two such messages have equal bytes outside of both, they have equal fields: tags and lengths are among
those bytes. So nothing of them has to be parsed again.
"""

from __future__ import annotations

from collections.abc import Iterator

from grandopt.serving.grpc.http2.alike import equal
from grandopt.serving.grpc.wire import BYTES, EIGHT, FOUR, VARINT, malformed, read_varint
from grandopt.signature import Array


class Form:
    """Where the id and the numbers of a message lie, and what is fixed: everything else.

    `id` is empty for a message without one.
    """

    __slots__ = ("fixed", "id", "numbers", "size")

    def __init__(self, size: int, of_id: slice, numbers: tuple[slice, ...]) -> None:
        self.size, self.id, self.numbers = size, of_id, numbers
        at, fixed = 0, []
        for one in sorted((of_id, *numbers), key=lambda one: (one.start, one.stop)):
            if one.start > at:
                fixed.append(slice(at, one.start))
            at = max(at, one.stop)
        if at < size:
            fixed.append(slice(at, size))
        self.fixed = tuple(fixed)

    def key(self, message: bytes) -> bytes:
        """All that is fixed of a message of this size."""
        fixed = self.fixed
        if len(fixed) == 1:
            return message[fixed[0]]
        return b"".join([message[one] for one in fixed])

    def alike(self, messages: Array) -> int:
        """How many of these messages [n, size], of bytes, are like the first in what is fixed."""
        return min([equal(messages[:, one]) for one in self.fixed])

    def moved(self, by: int) -> Form:
        """The form of a message that has so many bytes before it."""
        of_id, *numbers = (slice(one.start + by, one.stop + by) for one in (self.id, *self.numbers))
        return Form(self.size + by, of_id, tuple(numbers))


def form_of(message: bytes, of_id: int, of_numbers: int) -> Form | None:
    """The form of a message whose id and numbers are the fields of these numbers.

    None where there are two ids, of which one would be forgotten. Raises ProtocolError for bytes that are no
    message.
    """
    ids, numbers = [], []
    for number, start, end in _places(message):
        if number == of_id:
            ids.append(slice(start, end))
        elif number == of_numbers:
            numbers.append(slice(start, end))
    if len(ids) > 1:
        return None
    return Form(len(message), ids[0] if ids else slice(0, 0), tuple(numbers))


def _places(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of the value of each field that has a length."""
    at, size = 0, len(message)
    while at < size:
        tag, at = read_varint(message, at)
        kind = tag & 7
        if kind == BYTES:
            length, at = read_varint(message, at)
            yield tag >> 3, at, at + length
            at += length
        elif kind == VARINT:
            _, at = read_varint(message, at)
        elif kind in (EIGHT, FOUR):
            at += 8 if kind == EIGHT else 4
        else:
            raise malformed(f"wire type {kind}")
    if at > size:
        raise malformed("it ends within a field")
