"""An engine with rings, in a thread of its own, as clients on the same machine see it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.executors.base import Executor
from grandopt.serving.ring.options import RingOptions
from grandopt.serving.ring.server import RingServer

LIMIT_S = 30.0
"""Against hanging."""


class Serving:
    """`with Serving(path) as serving:` the engine is served; its methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        options: RingOptions | None = None,
        loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self.path = path
        self.engine = Engine()
        self.server = RingServer(SimpleNamespace(engine=self.engine), path, options)
        self._loop = loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.engine.initialize("standard", batching=False))
        self.do(self.server.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.do(self.server.stop())
        self.do(self.engine.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def do(self, task: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives in the engine's loop."""
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(LIMIT_S)

    def load(self, name: str, agent: Path | Executor) -> None:
        async def load() -> None:
            if isinstance(agent, Path):
                self.engine.load(agent, name)
            else:
                self.engine.add(name, agent)

        self.do(load())

    def wait_for_rings(self, count: int) -> None:
        """Until so many rings are in use; raises TimeoutError."""

        async def wait() -> None:
            async with asyncio.timeout(LIMIT_S):
                while len(self.server.rings) != count:
                    await asyncio.sleep(0.002)

        self.do(wait())
