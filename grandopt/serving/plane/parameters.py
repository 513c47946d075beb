"""The parameters of a request that mean something, and those that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grandopt.runtime.scheduling.call import FOREVER_S
from grandopt.runtime.scheduling.request import Priority
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import Parameter

CLASSES = (int(Priority.NORMAL), int(Priority.CRITICAL), int(Priority.HIGH), int(Priority.NORMAL))
"""The class of each priority of the protocol, where 1 is the highest and 0 the default; LOW from 4 on."""
MOST_ID = 256
"""Characters of the name of a sequence."""

SEQUENCE_ID = "sequence_id"
SEQUENCE_FLAGS = ("sequence_start", "sequence_end")
KNOWN = (SEQUENCE_ID, *SEQUENCE_FLAGS, "priority", "timeout")


class Asked(NamedTuple):
    """What the parameters of a request ask for. `deadline` is in nanoseconds of the clock, 0 none.

    `sequence` is None for a request of no sequence.
    """

    priority: int
    deadline: int
    sequence: int | str | None
    start: bool
    end: bool


PLAIN = Asked(int(Priority.NORMAL), 0, None, False, False)
"""What no parameters ask for."""


def asked(parameters: Mapping[str, Parameter], now_ns: int) -> Asked:
    """What the parameters ask for; raises ProtocolError for an unknown one, or a wrong value of one."""
    for name in parameters:
        if name not in KNOWN:
            raise ProtocolError(
                Code.INVALID, f"parameter {name!r:.100} is unknown; known are {', '.join(KNOWN)}"
            )
    priority = _whole(parameters, "priority")
    timeout = _whole(parameters, "timeout")
    sequence, start, end = _sequence(parameters)
    return Asked(
        CLASSES[priority] if priority < len(CLASSES) else int(Priority.LOW),
        now_ns + 1000 * timeout if 0 < timeout < FOREVER_S * 1e6 else 0,
        sequence,
        start,
        end,
    )


def _whole(parameters: Mapping[str, Parameter], name: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise ProtocolError(
            Code.INVALID, f"parameter {name!r} is a whole number from 0 on, got {value!r:.60}"
        )
    return value


def _sequence(parameters: Mapping[str, Parameter]) -> tuple[int | str | None, bool, bool]:
    flags = []
    for name in SEQUENCE_FLAGS:
        flag = parameters.get(name, False)
        if not isinstance(flag, bool):
            raise ProtocolError(Code.INVALID, f"parameter {name!r} is true or false, got {flag!r:.60}")
        flags.append(flag)
    sequence = parameters.get(SEQUENCE_ID, 0)
    if isinstance(sequence, str):
        if len(sequence) > MOST_ID:
            raise ProtocolError(
                Code.INVALID, f"sequence_id has {len(sequence)} characters, at most {MOST_ID} may be"
            )
    else:
        sequence = _whole(parameters, SEQUENCE_ID)
    if not sequence:  # 0 and "" are none
        if any(flags):
            raise ProtocolError(Code.INVALID, "sequence_start and sequence_end need a sequence_id")
        return None, False, False
    return sequence, flags[0], flags[1]
