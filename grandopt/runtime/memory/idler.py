"""Finds idle moments for a collector."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from grandopt.errors import ConfigError
from grandopt.runtime.memory.collector import Collector


class Idler:
    """Asks a server every `interval` seconds how long it expects to do nothing, and uses the time to collect.

    `idle_seconds` is called on a thread of its own; it returns 0 while a call runs or is expected. A
    collection holds up every thread of Python, so a moment that turns out shorter costs a call the rest. As a
    `with` block inside that of the collector. `wait` blocks for so many seconds or until the end, and says
    whether it is the end. Raises ConfigError for an interval that is not positive.
    """

    def __init__(
        self,
        collector: Collector,
        idle_seconds: Callable[[], float],
        interval: float = 0.01,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        if not interval > 0:
            raise ConfigError(f"the interval must be positive, got {interval} s")
        self._collector = collector
        self._idle_seconds = idle_seconds
        self._interval = interval
        self._ended = threading.Event()
        self._wait: Callable[[float], Any] = self._ended.wait if wait is None else wait
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Idler:
        if self._thread is not None:
            raise ConfigError("this idler was used before; make another one")
        self._thread = threading.Thread(target=self._work, name="grandopt-idler", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._wait(self._interval) and not self._ended.is_set():
            seconds = self._idle_seconds()
            if seconds > 0:
                self._collector.idle(seconds)
