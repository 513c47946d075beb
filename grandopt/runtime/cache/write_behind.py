"""Writes to disk and network behind the caller's back."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from grandopt.errors import ConfigError
from grandopt.runtime.cache.levels.base import Item

BATCH = 64
"""Items that go out together, at most."""


class WriteBehind:
    """A thread that hands items to `write` in batches, from a queue of `room` items.

    Thread safety: any thread may call any method. The thread starts with the first item and ends with
    `close`, which writes everything first; what is waiting when a process ends without it is lost. Raises
    ConfigError for a queue without room.
    """

    def __init__(self, write: Callable[[Sequence[Item]], None], room: int) -> None:
        if room < 1:
            raise ConfigError(f"the cache's queue of writes needs room, got {room}")
        self._write = write
        self._room = room
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Item, float]] = deque()
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items that found the queue full, and were not written."""
        return self._dropped

    def offer(self, item: Item) -> bool:
        """Have `item` written soon; False when the queue is full or closed. Does not wait for any write."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._room:
                self._dropped += 1
                return False
            self._waiting.append((item, time.monotonic()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="grandopt-cache-writer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def forget(self, chosen: Callable[[bytes], bool]) -> None:
        """Drop the items whose keys are chosen; when it returns, none of them is still to be written."""
        with self._changed:
            self._waiting = deque(entry for entry in self._waiting if not chosen(entry[0].key))
            self._changed.wait_for(lambda: not self._busy)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was offered is written; False if that takes longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self) -> None:
        """Write what is waiting and end the thread. Calling it twice is allowed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                entries = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._busy = True
            written = False
            try:
                self._write(_aged(entries))
                written = True
            finally:
                with self._changed:
                    self._busy = False
                    if not written:  # a defect of a level, which ends this thread: nobody may wait for it
                        self._closed = True
                        self._waiting.clear()
                    self._changed.notify_all()


def _aged(entries: Sequence[tuple[Item, float]]) -> list[Item]:
    """The items with what waiting has left them of their time to live; without those that it has ended."""
    now = time.monotonic()
    aged = [
        item if item.ttl is None else item._replace(ttl=item.ttl - (now - since)) for item, since in entries
    ]
    return [item for item in aged if item.ttl is None or item.ttl > 0]
