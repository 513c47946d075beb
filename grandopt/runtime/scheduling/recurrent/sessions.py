"""Recurrent agents in a batcher: each stream of calls keeps its own state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from grandopt.errors import ConfigError, Overloaded, SessionClosed, SignatureError
from grandopt.runtime.executors.observation import as_given
from grandopt.runtime.scheduling.call import Infer, deadline_of
from grandopt.runtime.scheduling.recurrent.idle import IdleTimer
from grandopt.runtime.scheduling.recurrent.line import Line
from grandopt.runtime.scheduling.recurrent.step import State, Step
from grandopt.runtime.scheduling.request import Priority, priority_of
from grandopt.signature import Array, Contract, Signature


@dataclass(frozen=True)
class SessionStats:
    """Counts since the beginning, but `open`, `busy` and `state_bytes`, which are of now.

    `busy` sessions have a call under way. `expired` ones ended because they were idle for too long, `refused`
    is how often there was no room for another one. `unanswered` calls raised, or were cancelled.
    `state_bytes` is what the states of the open sessions take.
    """

    open: int
    busy: int
    opened: int
    expired: int
    refused: int
    answered: int
    unanswered: int
    state_bytes: int


class Sessions:
    """The sessions of one recurrent agent: one state per stream of calls, in the same batches.

    The state travels with each observation as further inputs and outputs of its one row, so that rows of one
    batch belong to different streams. `infer` answers one row (see `Infer`), such as `Batcher.infer` does.

    At most `limit` sessions are open at once: another one is refused with Overloaded, which says when the one
    that has been idle longest will end. A session that nobody has called for `idle_s` seconds ends, and
    raises SessionClosed from then on. At most `waiting` calls of one session wait for the one under way.
    Raises ConfigError for limits that cannot be, SignatureError for an agent without state.

    Thread safety: sessions belong to one event loop, and are used on its thread alone.
    """

    def __init__(
        self,
        infer: Infer,
        signature: Signature,
        contract: Contract,
        *,
        limit: int = 1024,
        idle_s: float = 300.0,
        waiting: int = 64,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        if not contract.state:
            raise SignatureError("this agent keeps no state between calls: call it without a session")
        signature.check_state(contract)
        for name, value in (("limit", limit), ("waiting", waiting)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} of sessions must be a whole number from 1 on, got {value!r}")
        if isinstance(idle_s, bool) or not isinstance(idle_s, int | float) or not 0 < idle_s < math.inf:
            raise ConfigError(f"idle_s of sessions must be a positive number of seconds, got {idle_s!r}")
        self.step = Step(signature, contract)
        self.limit, self.waiting, self.idle_s = limit, waiting, idle_s
        self.infer = infer
        self.clock = clock
        self._sessions: set[Session] = set()
        self._by_key: dict[Hashable, Session] = {}
        self._idle: IdleTimer[Session] = IdleTimer(idle_s, self._expire, clock)
        self._opened = self._expired = self._refused = 0
        self.answered = self.unanswered = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, key: Hashable = None) -> Session:
        """The open session of `key`, or a new one, with the state before the first call.

        Without a key it is always a new one. Raises Overloaded where `limit` sessions are open.
        """
        found = None if key is None else self._by_key.get(key)
        if found is not None:
            if not found.busy:
                self._idle.add(found)
            return found
        if len(self._sessions) >= self.limit:
            self._idle.expire()
        if len(self._sessions) >= self.limit:
            self._refused += 1
            retry = self._idle.until_next()
            raise Overloaded(
                f"{self.limit} sessions are open, which is the limit; close one, or try again in "
                f"{retry:.3g} s, when one may have been idle for {self.idle_s:g} s",
                retry,
            )
        session = Session(self, key)
        self._opened += 1
        self._sessions.add(session)
        if key is not None:
            self._by_key[key] = session
        self.rest(session)
        return session

    def close(self) -> None:
        """End all sessions: running calls are still answered, waiting ones raise SessionClosed."""
        for session in list(self._sessions):
            session.close()
        self._idle.close()

    def stats(self) -> SessionStats:
        """What was done until now."""
        return SessionStats(
            open=len(self._sessions),
            busy=len(self._sessions) - len(self._idle),
            opened=self._opened,
            expired=self._expired,
            refused=self._refused,
            answered=self.answered,
            unanswered=self.unanswered,
            state_bytes=len(self._sessions) * self.step.state_bytes,
        )

    # ---- what sessions tell -------------------------------------------------------------------------------

    def work(self, session: Session) -> None:
        """A call of `session` begins."""
        self._idle.remove(session)

    def rest(self, session: Session) -> None:
        """Nothing of `session` is under way any more."""
        self._idle.add(session)

    def forget(self, session: Session) -> None:
        """`session` has ended."""
        self._sessions.discard(session)
        self._idle.remove(session)
        if session.key is not None:
            del self._by_key[session.key]

    def _expire(self, session: Session) -> None:
        self._expired += 1
        session.end(f"the session ended: nobody had called it for {self.idle_s:g} s; open another one")


class Session:
    """One stream of calls of a recurrent agent, from `Sessions.open`; a `with` block closes it at its end.

    Calls are answered in the order in which they began, one after the other. A call that fails, is cancelled
    or comes too late leaves the state as it was, and the next one goes on from there.
    """

    def __init__(self, sessions: Sessions, key: Hashable) -> None:
        self.key = key
        self._sessions = sessions
        self._state = sessions.step.initial
        self._line = Line(sessions.waiting)
        self._ended: str | None = None

    def infer(
        self,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """To be awaited: the agent's answer to one observation; the state moves on by one step.

        Takes the inputs that are no state, in order or as one mapping by name: [*shape], or a batch of one,
        which gives outputs with the batch. NumPy in, NumPy out; torch tensors in, tensors out. One output is
        returned as it is, several as a tuple. Raises SignatureError for what does not fit, SessionClosed,
        Overloaded where too many calls of this session wait already, and what `infer` of the agent raises.
        """
        rank = priority if type(priority) is Priority else priority_of(priority)
        deadline = 0 if deadline_s is None else deadline_of(deadline_s, self._sessions.clock())
        return self.answer(observation, rank, deadline)

    async def answer(self, observation: Sequence[Any], priority: int, deadline_ns: int) -> Any:
        """As `infer`, with the deadline as a time of the clock, 0 none."""
        sessions, line = self._sessions, self._line
        step = sessions.step
        row = step.fitting(observation)
        arrays, given = (row, None) if row is not None else step.converted(observation)
        if self._ended is not None:
            raise SessionClosed(self._ended)
        if line.busy:
            try:
                await line.wait(deadline_ns, sessions.clock)
            finally:
                self._rest()  # where it was the last one, and gave up just when its turn had come
        else:
            line.busy = True
            sessions.work(self)
        answered = False
        try:
            if self._ended is not None:  # while this call waited
                raise SessionClosed(self._ended)
            results = await sessions.infer(step.inputs(arrays, self._state), priority, deadline_ns)
            kept, self._state = step.parted(results)
            answered = True
        finally:
            sessions.answered += answered
            sessions.unanswered += not answered
            self._next()
        if given is None:
            return kept[0] if len(kept) == 1 else kept
        batched, tensors = given
        return as_given(tuple([array[np.newaxis] for array in kept]), batched, tensors)

    def reset(self) -> None:
        """Begin anew: calls made from now on see the state before the first one, earlier ones do not."""
        self._set(self._sessions.step.initial)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the state after the last answered call: one array [*shape] per state input, by its name.

        Setting it takes a mapping of such arrays, for the calls made from then on.
        """
        return {
            name: array.copy() for name, array in zip(self._sessions.step.names, self._state, strict=True)
        }

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        self._set(self._sessions.step.state_of(values))

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._line.busy

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._ended is not None

    def close(self) -> None:
        """End the session: the running call is still answered, waiting ones raise SessionClosed."""
        self.end("the session was closed; open another one")

    def end(self, reason: str) -> None:
        """Close it; later calls raise SessionClosed with `reason`."""
        if self._ended is not None:
            return
        self._ended = reason
        self._line.refuse(lambda: SessionClosed(reason))
        self._sessions.forget(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, state: State) -> None:
        """Change the state after the calls that were made before."""
        if self._ended is not None:
            raise SessionClosed(self._ended)
        if self._line.busy:
            self._line.add(lambda: setattr(self, "_state", state))
        else:
            self._state = state

    def _next(self) -> None:
        self._line.next()
        self._rest()

    def _rest(self) -> None:
        if not self._line.busy and self._ended is None:
            self._sessions.rest(self)
