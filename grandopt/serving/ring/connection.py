"""One ring: its memory, and the thread that answers what a client writes there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from grandopt.errors import GrandoptError
from grandopt.runtime.engine.direct import DirectStats
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.follower import Follower
from grandopt.runtime.engine.version import Version
from grandopt.runtime.histogram import LatencyCounts
from grandopt.serving.ring.channel import FINISH, STOP, SWITCH, Channel
from grandopt.serving.ring.layout import layout_of
from grandopt.serving.ring.loops import Loop, PythonLoop, native_loop
from grandopt.serving.ring.status import Status
from grandopt.signature import Array

NOTHING = DirectStats(LatencyCounts(), 0, 0)
BROKEN = "the client sent more requests than there are slots, or took some back"


class Connection(Follower):
    """Answers the requests of one client for one agent, on a thread of its own, with its present version.

    Belongs to the engine's event loop. Raises what `Engine.follow` does, and UnsupportedError for an agent
    that no ring can have.
    """

    def __init__(
        self, engine: Engine, agent: str, slots: int, spin_ns: int, spinning: Array, limit: int
    ) -> None:
        self.agent = agent
        self._spinning, self._limit = spinning, limit
        self._turn = threading.Lock()
        self._ending: str | None = None
        self._channel: Channel | None = None
        self._version = engine.follow(agent, self)
        try:
            self._channel = Channel(layout_of(agent, self._version.signature, slots), spin_ns)
            loop = self._loop(self._version)
        except BaseException:
            self._left()
            if self._channel is not None:
                self._channel.handed_over()
            raise
        self._first = [(loop, self._version)]
        self.native = not isinstance(loop, PythonLoop)
        """Whether the agent's compiled code answers at first, or else Python."""
        self._done = asyncio.Event()
        self._asyncio = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name=f"grandopt-ring-{agent}", daemon=True)

    @property
    def channel(self) -> Channel:
        """The ring's memory."""
        assert self._channel is not None
        return self._channel

    def begin(self, after: Callable[[], None]) -> None:
        """Answer from now on; `after` is called in the event loop when that has ended."""
        self._after = after
        self._thread.start()

    def abandon(self) -> None:
        """Give all back before `begin`."""
        self._left()
        self._done.set()

    def end(self, why: str) -> None:
        """Answer what was sent, then tell the client why there is nothing more."""
        with self._turn:
            if self._ending is None:
                self._ending = why
        self.channel.stop(FINISH)

    async def ended_within(self, seconds: float) -> bool:
        """Wait until the thread has ended, at most so long."""
        try:
            await asyncio.wait_for(self._done.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def changed(self, version: Version) -> None:
        with self._turn:
            self._version = version
            if self._ending is None:
                self.channel.stop(SWITCH)

    def ended(self) -> None:
        self.end(f"{self.agent}: is not served any more")

    def stats(self) -> DirectStats:
        return NOTHING if self._channel is None else self._channel.stats()

    def _loop(self, version: Version) -> Loop | PythonLoop:
        native = native_loop(version, self.channel, self._spinning, self._limit)
        return native or PythonLoop(self.agent, version, self.channel)

    def _serve(self) -> None:
        status, why = Status.FAILED, "the server failed"
        try:
            status, why = self._answer()
        except GrandoptError as error:
            why = str(error)
        finally:
            self.channel.end(status, why)
            with suppress(RuntimeError):  # the event loop is closed, and nobody waits
                self._asyncio.call_soon_threadsafe(self._ended)

    def _answer(self) -> tuple[Status, str]:
        loop, serving = (
            self._first.pop()
        )  # a version ends when another one has taken over, so keep it nowhere
        while True:
            with self._turn:
                version, ending = self._version, self._ending
                self.channel.control[STOP] = 0 if ending is None else FINISH
            if version is not serving:
                loop, serving = self._loop(version), version
            if loop():
                return Status.INVALID, BROKEN
            if ending is not None:
                return Status.UNAVAILABLE, ending

    def _left(self) -> None:
        self.leave()
        del self.leave  # it knows this ring, whose memory would stay until a collection

    def _ended(self) -> None:
        self._left()
        self._done.set()
        self._after()
