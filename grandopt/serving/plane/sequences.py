"""Sequences of the protocol as sessions of a recurrent agent."""

from __future__ import annotations

import asyncio

from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.scheduling.recurrent.sessions import Session
from grandopt.runtime.scheduling.request import Answer
from grandopt.serving.plane.parameters import Asked
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.signature import Array

SPARE = 64
"""Sessions that ended by themselves may stay in the books, so many and as many as are open."""


class Sequences:
    """The sessions of one agent by their clients' names for them. They belong to the engine's event loop."""

    def __init__(self, name: str, agent: ServedAgent) -> None:
        self._name = name
        self._agent = agent
        self._open: dict[int | str, Session] = {}
        self._under_way: set[asyncio.Task[Answer]] = set()

    def submit(self, arrays: tuple[Array, ...], asked: Asked) -> asyncio.Future[Answer]:
        """The outputs [*shape] that are no state, for the sequence's next observation [*shape].

        Requests of one sequence are answered one after the other, in the order of these calls. Raises
        ProtocolError for the first request of a sequence that does not say so, Overloaded where too many are
        open.
        """
        session = self._session(asked)
        task = asyncio.get_running_loop().create_task(self._answer(session, arrays, asked))
        self._under_way.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._under_way.discard)
        return task

    async def _answer(self, session: Session, arrays: tuple[Array, ...], asked: Asked) -> Answer:
        try:
            if asked.start:
                session.reset()
            answer = await session.answer(arrays, asked.priority, asked.deadline)
            return answer if type(answer) is tuple else (answer,)
        finally:
            if asked.end:
                session.close()

    def _session(self, asked: Asked) -> Session:
        key = asked.sequence
        assert key is not None  # whoever has none does not come here
        session = self._open.get(key)
        if session is not None and session.closed:  # it was idle for too long
            del self._open[key]
            session = None
        if session is None:
            if not asked.start:
                raise ProtocolError(
                    Code.INVALID,
                    f"{self._name}: sequence {key!r} is not open: its first request needs sequence_start, "
                    f"and one that is idle for {self._agent.sessions.idle_s:g} s ends",
                )
            session = self._open[key] = self._agent.sessions.open()
            self._tidy()
        if asked.end:
            del self._open[key]  # at once: the next one of this name begins anew
        return session

    def _tidy(self) -> None:
        """Forget those that ended because they were idle."""
        if len(self._open) > 2 * len(self._agent.sessions) + SPARE:
            self._open = {key: session for key, session in self._open.items() if not session.closed}
