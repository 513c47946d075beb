"""What a pickle would do, read off its bytes without doing any of it."""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass

STRING_OPCODES = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
PUT_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
GET_OPCODES = frozenset({"GET", "BINGET", "LONG_BINGET"})
COMPUTED = "<computed>"


@dataclass(frozen=True)
class PickleScan:
    """Globals that a pickle (or a row of them) names, as "module.name", in order and without repetition.

    `complete` is False when the bytes end or break before the last pickle does.
    """

    globals: tuple[str, ...]
    complete: bool

    @property
    def has_tensors(self) -> bool:
        """Whether torch tensors are rebuilt: there is no other way for one to come out of a pickle."""
        return any(name.startswith("torch.") for name in self.globals)


def scan(data: bytes, pickles: int = 1) -> PickleScan:
    """Disassemble the first `pickles` pickles in `data`. Nothing is imported or called.

    A global whose name is not spelled out as literal strings is reported as "<computed>".
    """
    found: dict[str, None] = {}
    stream = io.BytesIO(data)
    for _ in range(pickles):
        try:
            found.update(dict.fromkeys(_globals(stream)))
        except (ValueError, IndexError, UnicodeDecodeError):
            return PickleScan(tuple(found), complete=False)
    return PickleScan(tuple(found), complete=True)


def _globals(stream: io.BytesIO) -> list[str]:
    found: list[str] = []
    strings: list[str] = []  # the strings pushed so far; a STACK_GLOBAL takes the last two
    memo: dict[int, str | None] = {}
    last: str | None = None
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in STRING_OPCODES:
            last = str(argument)
            strings.append(last)
        elif opcode.name in PUT_OPCODES:
            memo[len(memo) if opcode.name == "MEMOIZE" else int(str(argument))] = last
        elif opcode.name in GET_OPCODES:
            last = memo.get(int(str(argument)))
            strings.append(COMPUTED if last is None else last)
        elif opcode.name in ("GLOBAL", "INST"):
            found.append(str(argument).replace(" ", "."))
            last = None
        elif opcode.name == "STACK_GLOBAL":
            pair = strings[-2:]
            found.append(COMPUTED if len(pair) < 2 or COMPUTED in pair else ".".join(pair))
            last = None
        else:
            last = None
    return found
