"""Where the observations of a stream come from, read one at a time."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable
from queue import SimpleQueue
from typing import Any, Final

from grandopt.errors import ConfigError

_log = logging.getLogger(__name__)
END: Final = object()
"""What a source gives when it has nothing more."""


class Source(ABC):
    """Gives items until END. Whatever the user's iterator raises is raised to the reader."""

    @abstractmethod
    async def next(self) -> Any:
        """The next item, or END."""

    @abstractmethod
    async def close(self) -> None:
        """Close the iterator where it can be closed, as a generator can; it is read no more."""


class AsyncSource(Source):
    """An async iterable."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._iterator = aiter(items)

    async def next(self) -> Any:
        return await anext(self._iterator, END)

    async def close(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()


class PlainSource(Source):
    """An iterable, read on the event loop's own thread."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._iterator = iter(items)

    async def next(self) -> Any:
        return next(self._iterator, END)

    async def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class ThreadSource(Source):
    """An iterable that blocks, read on a thread of its own.

    Closing it does not wait for a read under way; the iterator is closed when that has returned. The thread
    is a daemon: a read that never returns does not keep the process from ending.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._iterator = iter(items)
        self._asked: SimpleQueue[asyncio.Future[Any] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="grandopt-stream", daemon=True).start()

    async def next(self) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._asked.put(future)
        return await future

    async def close(self) -> None:
        self._asked.put(None)

    def _serve(self) -> None:
        while (future := self._asked.get()) is not None:
            item, error = END, None
            try:
                item = next(self._iterator, END)
            except BaseException as raised:  # noqa: BLE001 - the user's own code; told to the stream's reader
                error = raised
            try:
                future.get_loop().call_soon_threadsafe(_tell, future, item, error)
            except RuntimeError:
                break  # the loop was closed: nobody reads any more
            del future, item, error  # not kept alive while waiting
        close = getattr(self._iterator, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception:  # noqa: BLE001 - as above, but nobody reads any more
            _log.exception("the source of a stream raised when it was closed")


def _tell(future: asyncio.Future[Any], item: Any, error: BaseException | None) -> None:
    if future.done():
        return  # whoever read has gone away
    if error is None:
        future.set_result(item)
    else:
        future.set_exception(error)


def check_source(items: Any, in_thread: bool) -> None:
    """Raise ConfigError for what `source_of` cannot read."""
    if isinstance(items, AsyncIterable):
        if in_thread:
            raise ConfigError("in_thread is for sources that block; an async one does not")
    elif not isinstance(items, Iterable):
        raise ConfigError(
            f"the source of a stream must be iterable with `for` or `async for`, got {type(items).__name__}"
        )


def source_of(items: AsyncIterable[Any] | Iterable[Any], in_thread: bool) -> Source:
    """The source of an iterable or async iterable, which `check_source` has seen."""
    if isinstance(items, AsyncIterable):
        return AsyncSource(items)
    return ThreadSource(items) if in_thread else PlainSource(items)
