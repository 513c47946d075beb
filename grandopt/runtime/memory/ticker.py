"""Something done again and again on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from grandopt.errors import ConfigError


class Ticker:
    """Calls `action` every `interval` seconds from the start to the end of a `with` block.

    The end does not wait for the interval, but for a running action. An exception of the action ends the
    ticking and is raised at the end of the block. `wait` blocks for so many seconds or until the end, and
    says whether it is the end. Raises ConfigError for an interval that is not positive, or a second start.
    """

    def __init__(
        self,
        action: Callable[[], object],
        interval: float,
        name: str,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        if not interval > 0:
            raise ConfigError(f"the interval must be positive, got {interval} s")
        self._action = action
        self._interval = interval
        self._name = name
        self._ended = threading.Event()
        self._wait = self._ended.wait if wait is None else wait
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Ticker:
        if self._thread is not None:
            raise ConfigError(f"{self._name} was started before; make another one")
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._wait(self._interval) and not self._ended.is_set():
                self._action()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that owns the block
            self._error = error
