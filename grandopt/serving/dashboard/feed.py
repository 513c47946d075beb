"""Server-sent events: one look for all pages that are open, and none while there is no page."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from grandopt.errors import GrandoptError
from grandopt.serving.protocol.errors import Code, ProtocolError

Json = dict[str, Any]

MOST_PAGES = 16
AGAIN_S = 5.0

log = logging.getLogger(__name__)


class Feed:
    """Gives what `look` says to everybody who follows, every `every_s` seconds; `past` is told first.

    It belongs to the event loop. A page that reads slowly misses looks, and keeps nothing waiting.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Json]],
        past: Callable[[], Awaitable[Json]],
        *,
        every_s: float = 1.0,
        most: int = MOST_PAGES,
    ) -> None:
        self._look, self._past = look, past
        self._every_s, self._most = every_s, most
        self._waiting: set[asyncio.Event] = set()
        self._last = b""
        self._looking: asyncio.Task[None] | None = None

    @property
    def pages(self) -> int:
        """How many follow."""
        return len(self._waiting)

    def follow(self) -> AsyncGenerator[bytes, None]:
        """The events for one more page, which leaves when the iterator is closed.

        Raises ProtocolError where too many follow already.
        """
        if len(self._waiting) >= self._most:
            raise ProtocolError(
                Code.OVERLOADED,
                f"{self._most} pages follow this server already; close one of them",
                retry_after_s=AGAIN_S,
            )
        fresh = asyncio.Event()
        self._waiting.add(fresh)
        events = self._events(fresh)
        # One that is dropped before it began never comes to its `finally`.
        weakref.finalize(events, self._leave, fresh).atexit = False
        return events

    async def _events(self, fresh: asyncio.Event) -> AsyncGenerator[bytes, None]:
        try:
            yield event("past", await self._past())
            if self._looking is None:
                self._looking = asyncio.get_running_loop().create_task(self._go_on())
            elif self._last:
                fresh.set()
            while True:
                await fresh.wait()
                fresh.clear()
                if not self._last:
                    return
                yield self._last
        finally:
            self._leave(fresh)

    def _leave(self, fresh: asyncio.Event) -> None:
        self._waiting.discard(fresh)
        if not self._waiting and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _go_on(self) -> None:
        """Look until nobody follows, or what is looked at has ended: then so do the events."""
        try:
            while True:
                self._last = event("state", await self._look())
                self._wake()
                await asyncio.sleep(self._every_s)
        except GrandoptError as error:
            log.warning("the dashboard's events end: %s", error)
            self._looking = None
        finally:
            self._last = b""
            self._wake()

    def _wake(self) -> None:
        for fresh in self._waiting:
            fresh.set()


def event(name: str, data: Json) -> bytes:
    """A server-sent event with one line of JSON; what is not finite is null there."""
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


def finite(value: Any) -> Any:
    """Plain data as JSON can say it: NaN and infinity as None, tuples as lists."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): finite(item) for name, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value
