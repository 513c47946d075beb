"""What calls there are, as a connection asks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from grandopt.signature import Array


class Asker(NamedTuple):
    """Who calls: the seconds that the call may take, its Authorization, whether it comes from this machine,
    and whether its stream is to end with a status at the first error."""

    timeout_s: float | None
    authorization: str | None
    local: bool
    ends_on_error: bool


@dataclass(frozen=True, kw_only=True)
class Method:
    """`guarded` calls need the token where all calls do; others look for themselves."""

    guarded: bool = False


@dataclass(frozen=True, kw_only=True)
class Unary(Method):
    """One request, one answer.

    `answer` gets the request's bytes, who asks, and the seconds left; it gives what `written` makes bytes of,
    or a future of that, and raises ProtocolError, as the future may. `at_once` says that it takes
    microseconds, and gives bytes where the answer is there.
    """

    answer: Callable[[bytes, Asker, float | None], Any]
    written: Callable[[Any], bytes] = bytes
    at_once: bool = False


class Answers(Protocol):
    """Where messages of a stream go. It writes what it has to say by its call."""

    @property
    def room(self) -> bool:
        """Whether another message is taken now."""
        ...

    def message(self, data: bytes) -> None:
        """One has come."""
        ...

    def end(self) -> None:
        """No more will come."""
        ...

    def stop(self) -> None:
        """The server stops: say what is under way, and end."""
        ...

    def gone(self) -> None:
        """Nobody waits for answers any more."""
        ...


@runtime_checkable
class AnswersMany(Answers, Protocol):
    """Takes messages that came together, too."""

    @property
    def takes_many(self) -> bool:
        """Whether it does now."""
        ...

    def messages(self, messages: Array) -> int:
        """Some of one size have come [n, size], of bytes: take the first of them, as many as it can together;
        returns how many those are."""
        ...


class Stream(Protocol):
    """A call as its answers see it."""

    asker: Asker
    ended: bool
    done: bool
    over: Callable[[], bool]
    """Whether the turn of its connection is over: others wait."""

    @property
    def blocked(self) -> bool:
        """Whether what was written waits for the client."""
        ...

    @property
    def left_s(self) -> float | None:
        """The seconds that it has left, if there is a deadline."""
        ...

    def write(self, message: bytes) -> None:
        """Send a message, now or when the client takes it."""
        ...

    def write_many(self, messages: Array) -> None:
        """Send messages of one size [n, size], of bytes."""
        ...

    def finish(self, error: Any = None) -> None:
        """End the call when what was written is out: well, or with a ProtocolError."""
        ...

    def take(self) -> None:
        """Hand on messages that had no room."""
        ...


@dataclass(frozen=True, kw_only=True)
class Streamed(Method):
    """Many answers, to many requests or (`asks_once`) to one."""

    answers: Callable[[Stream], Answers]
    asks_once: bool = False
