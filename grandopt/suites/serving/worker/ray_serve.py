"""Ray Serve: `@serve.batch` in replicas, asked through a handle, as it is and optimised for throughput."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

from grandopt.signature import Array
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker.closed_loop import Infer
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.networks import Answers, batches

SIZES = (8, 64)
WAITS_S = (0.0, 0.001, 0.01)
"""The default is 0.01."""
AT_ONCE = 64
KINDS = (names.EAGER, names.SCRIPT)
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


class RayServe(Contender):
    """Replicas with a CPU of their own each; the callers are in the driver's event loop."""

    settings = tuple(
        f"{kind}, max_batch_size={size}, batch_wait_timeout_s={wait:g}"
        for kind, size, wait in product(KINDS, SIZES, WAITS_S)
    )

    def __init__(self, agent: ServedAgent, *, throughput: bool, replicas: int = 1) -> None:
        super().__init__(agent)
        self._throughput, self._replicas = throughput, replicas
        self._handle: Any = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        os.environ.update(QUIET)
        if self._throughput:  # read when the library is imported, and in the processes that it starts
            os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
        import ray
        from ray import serve

        ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            self._handle = serve.run(_application(self.agent, self._replicas))
            yield
        finally:
            # Within the loop: optimised for throughput, its router lives in there.
            await serve.shutdown_async()
            ray.shutdown()

    @asynccontextmanager
    async def serving(self, setting: str) -> AsyncIterator[Infer]:
        kind, size, wait = setting.split(", ")
        await self._choose(kind, int(_value(size)), float(_value(wait)))
        ask = self._handle.remote

        async def infer(observation: Array) -> Any:
            return await ask(observation)

        yield infer

    async def _choose(self, kind: str, size: int, wait: float) -> None:
        """Tell every replica.

        Ray sends a call where fewer were under way when it last heard, and remembers that for 10 s: one call
        after the other would go to the same replica all that time. Of many at once some go to the other.
        """
        told, count = set[int](), AT_ONCE
        while len(told) < self._replicas:
            calls = (self._handle.choose.remote(kind, size, wait) for _ in range(count))
            told.update(await asyncio.gather(*calls))
            count *= 2


def _application(agent: ServedAgent, replicas: int) -> Any:
    from ray import serve

    class Policy:
        def __init__(self) -> None:
            self.computes = {kind: batches(agent, kind) for kind in KINDS}
            self.compute = self.computes[KINDS[0]]

        def choose(self, kind: str, size: int, wait: float) -> int:
            self.compute = self.computes[kind]
            self.__call__.set_max_batch_size(size)
            self.__call__.set_batch_wait_timeout_s(wait)
            return os.getpid()

        @serve.batch(max_batch_size=SIZES[0], batch_wait_timeout_s=WAITS_S[0])  # type: ignore[untyped-decorator]
        async def __call__(self, observations: list[Array]) -> Answers:
            return self.compute(observations)

    deployment = serve.deployment(
        num_replicas=replicas, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1}
    )
    return deployment(Policy).bind()


def _value(text: str) -> str:
    return text.partition("=")[2]
