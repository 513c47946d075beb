"""Ray's side of the serving suite, with a handle that sends calls as Ray's router does."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from grandopt.suites.serving.wire import ServedAgent
from grandopt.suites.serving.worker import ray_replicas, ray_serve
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.ray_replicas import RayReplicas
from grandopt.suites.serving.worker.ray_serve import RayServe

AGENT = ServedAgent(
    "gate", "m:N", Path("w"), Path("s"), Path("a"), Path("o"), (Path("x"),), exact=1e-4, limit=0.02
)


class Router:
    """Two replicas: a call goes where fewer are under way, by what was last heard of them."""

    def __init__(self, *remembered: int) -> None:
        self.lengths = list(remembered)
        self.settings: dict[int, set[tuple[str, int, float]]] = {place: set() for place in range(2)}
        self.choose, self.remote = SimpleNamespace(remote=self.call), self.call

    async def call(self, kind: str, size: int, wait: float) -> int:
        place = min(range(2), key=self.lengths.__getitem__)
        self.lengths[place] += 1
        await asyncio.sleep(0)
        self.lengths[place] -= 1
        self.settings[place].add((kind, size, wait))
        return place


def test_every_replica_is_told_whatever_the_router_remembers_of_one() -> None:
    router = Router(0, 300)  # as after callers whose answers were the last that was heard of it

    async def main() -> None:
        serving = RayServe(AGENT, throughput=False, replicas=2)
        serving._handle = router
        async with (
            asyncio.timeout(10),
            serving.serving("torchscript, max_batch_size=64, batch_wait_timeout_s=0.01"),
        ):
            assert router.settings == {place: {("torchscript", 64, 0.01)} for place in range(2)}

    asyncio.run(main())


@pytest.mark.parametrize(
    "contender",
    [RayServe(AGENT, throughput=False), RayReplicas(AGENT, shared=True, replicas=2)],
    ids=["plain", "ours"],
)
def test_a_cluster_that_runs_on_this_machine_is_left_alone(
    contender: Contender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without "local" Ray joins one that it finds; what ends here would end Ray Serve there."""
    asked: list[Any] = []

    async def shutdown_async() -> None:
        asked.append("shutdown")

    ray, serve = ModuleType("ray"), ModuleType("ray.serve")
    vars(ray).update(init=lambda *address, **_: asked.extend(address), shutdown=lambda: None, serve=serve)
    vars(serve).update(start=lambda **_: None, run=lambda made: made, shutdown_async=shutdown_async)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.serve", serve)
    monkeypatch.setattr(ray_serve, "_application", lambda *_: None)
    monkeypatch.setattr(ray_replicas, "application", lambda *_, **__: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    async def main() -> None:
        async with contender.running():
            assert asked == ["local"]

    asyncio.run(main())
    assert asked == ["local", "shutdown"]
