"""Finds idle moments for a collector."""

from __future__ import annotations

from collections.abc import Callable

from grandopt.runtime.memory.collector import Collector
from grandopt.runtime.memory.ticker import Ticker

INTERVAL = 0.01


def idle_gc(
    collector: Collector,
    idle_seconds: Callable[[], float],
    interval: float = INTERVAL,
    wait: Callable[[float], bool] | None = None,
) -> Ticker:
    """Ask a server every `interval` seconds how long it expects to do nothing, and use the time to collect.

    A `with` block inside that of the collector. `idle_seconds` is called on a thread of its own; it returns 0
    while a call runs or is expected. A collection holds up every thread of Python, so a moment that turns out
    to be shorter costs a call the rest. See Ticker for `wait` and errors.
    """

    def ask() -> None:
        seconds = idle_seconds()
        if seconds > 0:
            collector.idle(seconds)

    return Ticker(ask, interval, "grandopt-idler", wait)
