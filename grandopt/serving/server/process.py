"""A server in this process: it starts, says so, and stops at a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from grandopt.serving.server.extra import require
from grandopt.serving.server.instance import ServerInstance
from grandopt.serving.server.listeners import Listeners, listeners
from grandopt.serving.server.options import ServerOptions
from grandopt.serving.server.siblings import Siblings
from grandopt.serving.server.summary import Summary

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Started = Callable[[Summary], None]


def serve_here(options: ServerOptions, started: Started, *, once: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; with `once` stop as soon as it has started.

    `started` is told when everything listens. Raises what is wrong with the options, the folder and the
    ports, and ConfigError where libraries are missing.
    """
    require("uvloop", "httptools", "orjson")
    made = listeners(options)
    run(serving(options, made, started, once=once))


async def serving(
    options: ServerOptions,
    made: Listeners,
    started: Started,
    *,
    once: bool = False,
    siblings: Siblings | None = None,
    ring: bool = True,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve in the running event loop until a signal comes, or `stop` is set."""
    loop, ended = asyncio.get_running_loop(), stop or asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, ended.set)
    instance = ServerInstance(options, made, siblings, ring=ring)
    starting, signalled = asyncio.ensure_future(instance.start()), asyncio.ensure_future(ended.wait())
    await asyncio.wait((starting, signalled), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()  # which ends what was begun
        await asyncio.wait((starting,))
        if not starting.cancelled():
            starting.exception()  # seen: whoever stops it does not ask why it would not have started
        await instance.stop(0.0)
        return
    started(starting.result())
    if not once:
        await signalled
    signalled.cancel()
    await instance.stop(options.grace_s)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
