"""A pickled dict without those of its entries that would have to run code.

Training checkpoints carry more than weights: the best reward as a number of NumPy, the state of an
environment, settings as an object of the user's own. Such an entry is never built: its bytes are taken out of
the pickle, and None stands in its place.
"""

from __future__ import annotations

import pickletools
from bisect import bisect_left
from dataclasses import dataclass, field

from grandopt.compiler.checkpoints.vetting.pickle_scan import (
    BROKEN,
    GET_OPCODES,
    PUT_OPCODES,
    STRING_OPCODES,
)

PLAIN = ("collections.OrderedDict", "torch._utils.", "torch.Size", "torch.device", "torch.serialization.")
STORAGES = ("torch.", "Storage")
"""What the globals of tensors, and of the containers that they lie in, begin with (and end in)."""

NONE = b"N"
UNNAMED = "?"


@dataclass
class _Entry:
    """One entry of the outermost dict: its key, where the value's bytes are, and what they refer to."""

    key: str
    start: int
    end: int
    foreign: bool = False
    puts: set[int] = field(default_factory=set)
    gets: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Value:
    """A value on the unpickler's stack: where its bytes begin, and its text if it is one."""

    start: int
    text: str | None = None
    mark: bool = False


def without_foreign(data: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """The pickle `data` of a dict with None for each value that needs other globals than tensors do, or that
    refers to something inside such a value; and the keys of those.

    None for a pickle that numbers its values by their order (protocol 4), and for what is no pickle. Nothing
    is imported or called; the bytes that come out still have to be read as a stranger's.
    """
    try:
        entries = _entries(data)
    except BROKEN:
        return None
    gone: set[int] = set()
    for entry in entries:
        entry.foreign = entry.foreign or bool(entry.gets & gone)
        gone |= entry.puts if entry.foreign else set()
    parts, place = [], 0
    for entry in entries:
        if entry.foreign:
            parts += [data[place : entry.start], NONE]
            place = entry.end
    return b"".join([*parts, data[place:]]), tuple(entry.key for entry in entries if entry.foreign)


def _entries(data: bytes) -> list[_Entry]:
    """The entries of the outermost dict, in order; raises ValueError for what is not taken apart."""
    walk = _Walk()
    for opcode, argument, place in pickletools.genops(data):
        walk.step(opcode, argument, place or 0)
    places = [place for place, _, _ in walk.events]
    for entry in walk.entries:
        for _, kind, what in walk.events[bisect_left(places, entry.start) : bisect_left(places, entry.end)]:
            match kind:
                case "global":
                    entry.foreign = entry.foreign or not _plain(str(what))
                case "put":
                    entry.puts.add(int(what))
                case _:
                    entry.gets.add(int(what))
    return walk.entries


def _plain(name: str) -> bool:
    return name.startswith(PLAIN) or (name.startswith(STORAGES[0]) and name.endswith(STORAGES[1]))


class _Walk:
    """The unpickler's stack, followed without doing anything, and what happens where."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.events: list[tuple[int, str, int | str]] = []
        self._stack: list[_Value] = []
        self._texts: dict[int, str | None] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: object, place: int) -> None:
        """Follow one opcode; raises ValueError for one that numbers or frames values by their order."""
        name = opcode.name
        if name in ("MEMOIZE", "FRAME", "STACK_GLOBAL"):
            raise ValueError(f"{name} is of protocol 4")
        if name in ("GLOBAL", "INST"):
            self.events.append((place, "global", str(argument).replace(" ", ".")))
        if name in PUT_OPCODES:
            self.events.append((place, "put", int(str(argument))))
            self._texts[int(str(argument))] = self._stack[-1].text
        elif name in GET_OPCODES:
            self.events.append((place, "get", int(str(argument))))
            self._stack.append(_Value(place, self._texts[int(str(argument))]))
        elif name in STRING_OPCODES:
            self._stack.append(_Value(place, str(argument)))
        elif name == "DUP":
            raise ValueError("a value stands in two places")
        else:
            self._replace(opcode, place)

    def _replace(self, opcode: pickletools.OpcodeInfo, place: int) -> None:
        taken = self._taken(opcode)
        if opcode.name in ("SETITEM", "SETITEMS") and not self._stack:
            self._note(taken[1:], place)
        start = taken[0].start if taken else place
        marks = [item is pickletools.markobject for item in opcode.stack_after]
        self._stack += [_Value(start, mark=mark) for mark in marks]

    def _note(self, items: list[_Value], end: int) -> None:
        """The keys and values that the outermost dict is given by an opcode at `end`."""
        edges = [item.start for item in items[2:]] + [end, end]
        for key, value, after in zip(items[::2], items[1::2], edges[::2], strict=True):
            self.entries.append(_Entry(UNNAMED if key.text is None else key.text, value.start, after))

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[_Value]:
        """The values that an opcode takes off the stack, those down to a mark included."""
        before, taken = opcode.stack_before, []
        if pickletools.markobject in before:
            while not (value := self._stack.pop()).mark:
                taken.append(value)
            before = before[: before.index(pickletools.markobject)]
        taken += [self._stack.pop() for _ in before]
        return taken[::-1]
