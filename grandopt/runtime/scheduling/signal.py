"""One task of an event loop that waits for a change which another part of the same loop makes."""

from __future__ import annotations

import asyncio


class Signal:
    """`wait` returns at the next `wake`.

    Between the look at what it waits for and the `wait`, the waiting task must not give up its turn: then no
    change is missed. One task waits at a time.
    """

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Return when `wake` is called."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Let the one who waits go on; without one, nothing happens."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
