"""Where alerts go: functions, the log. What waits for a network is in `webhook`."""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.alerts import Alert

log = logging.getLogger(__name__)
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Delivery(ABC):
    """Takes alerts that fire or clear. `deliver` is called from the monitor's thread and must not wait."""

    @abstractmethod
    def deliver(self, alert: Alert) -> None:
        """Take one alert."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give up what is held; calling it twice is allowed."""


class Callbacks(Delivery):
    """Calls functions with each alert; one that raises is logged, and the others are called.

    They are called on the monitor's thread, where no event loop runs: raises ConfigError for a coroutine
    function, which nobody would await, and for what cannot be called.
    """

    def __init__(self, *functions: Callable[[Alert], object]) -> None:
        for function in functions:
            if not callable(function):
                raise ConfigError(f"a callback is a function of an alert, got {function!r:.80}")
            if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
                getattr(function, "__call__", None)  # noqa: B004 - of an object with an asynchronous one
            ):
                raise ConfigError(
                    f"a callback is a plain function, and {function!r:.80} is asynchronous; let a plain one "
                    f"hand it to the event loop, by asyncio.run_coroutine_threadsafe"
                )
        self._functions = functions

    def deliver(self, alert: Alert) -> None:
        for function in self._functions:
            try:
                function(alert)
            except Exception:
                log.exception("a callback failed on an alert (%s)", alert)


class Logged(Delivery):
    """Writes each alert to the log `grandopt.alerts`: at its severity when it fires, as information when it
    clears."""

    def __init__(self) -> None:
        self._log = logging.getLogger("grandopt.alerts")

    def deliver(self, alert: Alert) -> None:
        self._log.log(LEVELS[alert.rule.severity] if alert.state == "firing" else logging.INFO, "%s", alert)
