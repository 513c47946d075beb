"""Where everything lies in a ring's shared file, as `grandopt_ring.h` says: version 1 of the protocol."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from grandopt.errors import UnsupportedError
from grandopt.signature import Signature, TensorSpec

VERSION = 1
MAGIC = b"grandopt ring"
LINE = 64
"""What tensors are aligned to."""
TABLE = 4096
NAME, AXES, TENSORS, TEXT = 128, 16, 64, 256
MOST_SLOTS = 4096
MOST_BYTES = 64 << 20
"""Of a ring's file, beyond what the fewest slots take."""
REQUEST, ANSWER = 64, 256
"""Bytes before the tensors of a request, and of an answer."""
ANSWER_TEXT, ANSWER_TEXT_BYTES = 64, 192

REQUESTS, CLIENT_ASLEEP, ANSWERS, SERVER_ASLEEP, CLOSED, WHY = 1024, 1152, 1280, 1408, 1536, 1600
"""Where the variables that both sides see are."""

HELLO = struct.Struct(f"16sII{NAME}s")
"""What a client says: magic, version, slots (0: the server's choice), agent."""
REPLY = struct.Struct(f"16sII{TEXT}s")
"""What the server answers: magic, version, status, text."""
SHAPE = struct.Struct("16sIIIIQQQQ")
TENSOR = struct.Struct(f"{NAME}sII{AXES}QQQ")

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Element types, numbered from 1."""


@dataclass(frozen=True)
class Place:
    """A tensor of one observation, `offset` bytes from the beginning of a slot."""

    spec: TensorSpec
    offset: int

    @property
    def nbytes(self) -> int:
        """What it takes, without what follows up to the next line."""
        return self.spec.elements * np.dtype(self.spec.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """A ring's file: `size` bytes in all, `slots` of `slot_bytes` from `first_slot` on, tensors in each."""

    size: int
    slots: int
    first_slot: int
    slot_bytes: int
    answer: int
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]

    def written(self) -> bytes:
        """The beginning of the file, up to the first slot's page."""
        head = SHAPE.pack(
            MAGIC, VERSION, self.slots, len(self.inputs), len(self.outputs),
            self.size, self.first_slot, self.slot_bytes, self.answer,
        )  # fmt: skip
        return head.ljust(TABLE, b"\0") + b"".join(_described(place) for place in self.inputs + self.outputs)


def layout_of(name: str, signature: Signature, slots: int) -> Layout:
    """The layout for an agent; fewer slots than wanted where its tensors are large, at least 2.

    Raises UnsupportedError for an agent that cannot be described: without declared outputs, with too many
    tensors or axes, or a name that is too long.
    """
    specs = signature.inputs + signature.outputs
    if not signature.outputs:
        raise UnsupportedError(f"{name}: its outputs are not declared, which a ring needs; ask it over HTTP")
    if len(specs) > TENSORS or any(len(spec.shape) > AXES for spec in specs):
        raise UnsupportedError(f"{name}: a ring holds {TENSORS} tensors of {AXES} axes at most")
    if any(len(spec.name.encode()) >= NAME for spec in specs):
        raise UnsupportedError(f"{name}: the name of a tensor in a ring has {NAME - 1} bytes at most")
    inputs, answer = _placed(signature.inputs, REQUEST)
    outputs, slot_bytes = _placed(signature.outputs, answer + ANSWER)
    slots = min(1 << (max(slots, 2) - 1).bit_length(), MOST_SLOTS)
    while slots > 2 and slots * slot_bytes > MOST_BYTES:
        slots //= 2
    first = _up(TABLE + len(specs) * TENSOR.size, 4096)
    return Layout(first + slots * slot_bytes, slots, first, slot_bytes, answer, inputs, outputs)


def layout_in(memory: memoryview) -> Layout:
    """The layout that a ring's file states; raises ValueError where it cannot be one."""
    magic, version, slots, inputs, outputs, size, first, slot_bytes, answer = SHAPE.unpack_from(memory)
    if magic.rstrip(b"\0") != MAGIC or version != VERSION or size != len(memory):
        raise ValueError(f"version {version} with {size} bytes of {len(memory)}")
    if inputs + outputs > TENSORS or not 2 <= slots <= MOST_SLOTS or first + slots * slot_bytes > size:
        raise ValueError(f"{slots} slots of {slot_bytes} bytes, {inputs + outputs} tensors")
    places = [_read(memory, TABLE + i * TENSOR.size) for i in range(inputs + outputs)]
    if any(place.offset + place.nbytes > slot_bytes for place in places):
        raise ValueError("a tensor lies outside its slot")
    return Layout(size, slots, first, slot_bytes, answer, tuple(places[:inputs]), tuple(places[inputs:]))


def text_field(text: str, size: int) -> bytes:
    """A text as a field of so many bytes: cut between characters, with a zero byte behind it at least."""
    return text.encode()[: size - 1].decode("utf-8", "ignore").encode().ljust(size, b"\0")


def _placed(specs: tuple[TensorSpec, ...], offset: int) -> tuple[tuple[Place, ...], int]:
    places = []
    for spec in specs:
        places.append(Place(spec, offset))
        offset = _up(offset + places[-1].nbytes, LINE)
    return tuple(places), offset


def _described(place: Place) -> bytes:
    spec = place.spec
    shape = spec.shape + (0,) * (AXES - len(spec.shape))
    number = DTYPES.index(spec.dtype) + 1
    name = spec.name.encode()
    return TENSOR.pack(name, number, len(spec.shape), *shape, place.offset, place.nbytes)


def _read(memory: memoryview, offset: int) -> Place:
    name, dtype, axes, *rest = TENSOR.unpack_from(memory, offset)
    shape, (place, size) = tuple(rest[:axes]), rest[AXES:]
    if not 1 <= dtype <= len(DTYPES) or axes > AXES:
        raise ValueError(f"a tensor of type {dtype} with {axes} axes")
    kind = DTYPES[dtype - 1]
    if math.prod(shape) * np.dtype(kind).itemsize != size:
        raise ValueError(f"a tensor {list(shape)} of {kind} with {size} bytes")
    return Place(TensorSpec(name.rstrip(b"\0").decode(), shape, kind), place)


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
