"""What a pickle would do, read off its bytes without doing any of it."""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from grandopt import limits

STRING_OPCODES = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
PUT_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
GET_OPCODES = frozenset({"GET", "BINGET", "LONG_BINGET"})
CONTAINER_OPCODES = frozenset({"EMPTY_LIST", "LIST", "EMPTY_DICT", "DICT", "NEWOBJ", "REDUCE", "BUILD"})
TUPLE_OPCODES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
COMPUTED = "<computed>"

_Value: TypeAlias = "tuple[str | None, int, int]"
MARK: _Value = ("(", 0, 0)

GREEDY = frozenset({"builtins.bytearray", "__builtin__.bytearray"})
"""Globals that make memory of any size out of a number."""

BROKEN = (ValueError, LookupError, OverflowError, MemoryError, TypeError)
"""What disassembling is seen to raise on bytes that are no pickle."""


@dataclass(frozen=True)
class PickleScan:
    """Globals that a pickle (or a row of them) names, as "module.name", in order and without repetition.

    `complete` is False when the bytes end or break before the last pickle does. `greedy` says, as the rest of
    a sentence, what would take memory or time out of proportion to the bytes; None if nothing does.
    `containers` are the lists, dicts and objects in it, `deepest` is how many tuples lie in one another.
    """

    globals: tuple[str, ...]
    complete: bool
    greedy: str | None = None
    containers: int = 0
    deepest: int = 0

    @property
    def has_tensors(self) -> bool:
        """Whether torch tensors are rebuilt: there is no other way for one to come out of a pickle."""
        return any(name.startswith("torch.") for name in self.globals)


def scan(data: bytes, pickles: int = 1) -> PickleScan:
    """Disassemble the first `pickles` pickles in `data`. Nothing is imported or called.

    A global whose name is not spelled out as literal strings is reported as "<computed>".
    """
    reader = _Reader()
    stream = io.BytesIO(data)
    complete = True
    for _ in range(pickles):
        try:
            reader.read(stream)
        except BROKEN:
            complete = False
            break
    greedy = next((name for name in reader.globals if name in GREEDY), None)
    said = reader.greedy if greedy is None else f"makes memory of any size ({greedy})"
    return PickleScan(tuple(reader.globals), complete, said, reader.containers, reader.deepest)


@dataclass
class _Reader:
    """The globals in a stream, and the first thing in it that is out of proportion."""

    globals: dict[str, None] = field(default_factory=dict)
    greedy: str | None = None
    count: int = 0
    containers: int = 0
    deepest: int = 0

    def read(self, stream: io.BytesIO) -> None:
        """One pickle."""
        stack = _Stack()
        for opcode, argument, _ in pickletools.genops(stream):
            self.count += 1
            place = stack.step(opcode, argument)
            self.containers += opcode.name in CONTAINER_OPCODES
            self.deepest = max(self.deepest, stack.deepest)
            if opcode.name in ("GLOBAL", "INST"):
                self.globals[str(argument).replace(" ", ".")] = None
            elif opcode.name == "STACK_GLOBAL":
                self.globals[stack.named] = None
            if self.count > limits.VALUES:
                self.greedy = f"has more than {limits.VALUES:,} steps"
            elif place > limits.VALUES:  # the unpickler makes a table of that length
                self.greedy = f"numbers its values up to {place:,}"
            elif stack.heaviest > limits.VALUES:  # and whoever hashes such a tuple walks all of it
                self.greedy = f"holds tuples of more than {limits.VALUES:,} values that repeat one another"
            if self.greedy is not None:
                raise ValueError(self.greedy)


class _Stack:
    """What an unpickler's stack and memo hold, as far as a scan must know it.

    Each value is its text where it is a string, how many values there are in it where it is a tuple, and
    how deep that is. Lists and dicts count as one value: nobody can hash them, and who walks them remembers
    where it was.
    """

    def __init__(self) -> None:
        self.heaviest = 1
        self.deepest = 0
        self.named = COMPUTED
        self._values: list[_Value] = []
        self._memo: dict[int, _Value] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Follow one opcode; the highest number that it gives to a value."""
        name = opcode.name
        if name in STRING_OPCODES:
            self._values.append((str(argument), 1, 0))
        elif name in PUT_OPCODES:
            place = len(self._memo) if name == "MEMOIZE" else int(argument)
            self._memo[place] = self._values[-1]
            return place
        elif name in GET_OPCODES:
            self._values.append(self._memo[int(argument)])
        elif name == "DUP":
            self._values.append(self._values[-1])
        else:
            self._replace(opcode)
        return 0

    def _replace(self, opcode: pickletools.OpcodeInfo) -> None:
        taken = self._taken(opcode)
        if opcode.name == "STACK_GLOBAL":
            texts = [text for text, _, _ in taken]
            self.named = COMPUTED if None in texts else ".".join(map(str, texts))
        weight, depth = 1, 0
        if opcode.name in TUPLE_OPCODES:
            weight += sum(weight for _, weight, _ in taken)
            depth = 1 + max((depth for _, _, depth in taken), default=0)
            self.heaviest, self.deepest = max(self.heaviest, weight), max(self.deepest, depth)
        marks = [item is pickletools.markobject for item in opcode.stack_after]
        self._values += [MARK if mark else (None, weight, depth) for mark in marks]

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[_Value]:
        """The values that an opcode takes off the stack, those down to a mark included."""
        before = opcode.stack_before
        taken: list[_Value] = []
        if pickletools.markobject in before:
            while (value := self._values.pop()) is not MARK:
                taken.append(value)
            before = before[: before.index(pickletools.markobject)]
        taken += [self._values.pop() for _ in before]
        return taken[::-1]
