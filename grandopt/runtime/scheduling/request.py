"""One request on its way to an answer."""

from __future__ import annotations

from asyncio import Future
from enum import IntEnum
from typing import NamedTuple

from grandopt.errors import ConfigError
from grandopt.signature import Array

Answer = tuple[Array, ...]
"""One array per output, for one observation or for several."""


class Priority(IntEnum):
    """The class of a request; a higher one is served first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


_NAMES: dict[object, Priority] = {
    **{priority: priority for priority in Priority},
    **{priority.name.lower(): priority for priority in Priority},
}


def priority_of(value: Priority | int | str) -> Priority:
    """The class that a name ("low", "HIGH", …) or a number from 0 to 3 means; else raises ConfigError."""
    kind = type(value)
    if kind is int or kind is Priority:  # at once: asking what else it is takes longer
        found = _NAMES.get(value)
    else:
        key = value.lower() if isinstance(value, str) else value
        found = None if isinstance(key, bool) or not isinstance(key, (str, int)) else _NAMES.get(key)
    if found is None:
        names = ", ".join(priority.name.lower() for priority in Priority)
        raise ConfigError(f"priority {value!r} is none of {names}")
    return found


class Request(NamedTuple):
    """What waits for a worker.

    `inputs` holds one array per input: [*shape] where `rows` is 0, which is one observation, else
    [rows, *shape]. Times are in nanoseconds of the batcher's clock; a `deadline` of 0 is none. The answer
    goes to `future`, as a tuple of arrays with the same first dimension; a future that is done is waited for
    by nobody any more.
    """

    future: Future[Answer]
    inputs: tuple[Array, ...]
    rows: int
    priority: int
    deadline: int
    arrived: int

    @property
    def size(self) -> int:
        """How many rows of a batch it takes."""
        return self.rows or 1


def fail(future: Future[Answer], error: Exception) -> bool:
    """Tell a caller that no answer comes; whether it was still waited for."""
    waited = not future.done()
    if waited:
        future.set_exception(error)
    return waited
