"""What a replica's work takes, measured through an engine that serves it, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import Artifact, read
from grandopt.distributed.plan.replica import Replica
from grandopt.distributed.plan.sustained import Sustained
from grandopt.measurement.load.base import rows
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.settings import LoadSettings
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.scheduling.calibration import measure_cost
from grandopt.verification.inputs import ring

ROUNDS = 30
"""Of a measurement by itself, some seconds together."""


class Serving:
    """An artifact that an engine serves, and what can be asked of it. It belongs to the engine's event
    loop."""

    def __init__(self, artifact: Artifact, engine: Engine, name: str, profile: str, seed: int) -> None:
        self._artifact = artifact
        self._engine = engine
        self._name = name
        self._profile = profile
        self._seed = seed
        self._served = engine.served(name)
        batcher = self._served.batcher
        self._cost = batcher.cost if batcher is not None else measure_cost(self._served.version.executor)
        settings = LoadSettings(warmup_s=0.0, grace_s=5.0, seed=seed)
        self.sustained = Sustained(self.load(settings), batcher, self._cost)
        """What was measured of it until now."""

    def load(self, settings: LoadSettings) -> ConcurrentLoad:
        """Load on it, with drawn observations."""
        return ConcurrentLoad(
            asking(self._engine, self._name), observations(self._artifact, self._seed), settings
        )

    def replica(self) -> Replica:
        """What was measured; of one round at least."""
        manifest, batcher = self._artifact.manifest, self._served.batcher
        return Replica(
            agent=manifest.name,
            digest=manifest.digest,
            engine=manifest.engine,
            precision=manifest.precision,
            profile=self._profile,
            kind="inline" if self._served.choice is None else self._served.choice.kind,
            workers=1 if batcher is None else batcher.workers.size,
            limit=1 if batcher is None else batcher.settings.limit,
            cost=self._cost,
            turns=self.sustained.turns(),
            lone_ns=self.sustained.lone_ns,
            pace=self.sustained.pace(),
        )


@asynccontextmanager
async def served(
    path: Path, profile: str, *, trust: bool = False, concurrency: int | None = None, seed: int = 0
) -> AsyncIterator[Serving]:
    """Serve the artifact at `path` by an engine of `profile`, whose settings stay as they are.

    `concurrency` is how many workers compute where any do; as many as the engine finds to pay without it.
    Raises an InputError for an artifact that cannot be loaded.
    """
    artifact = read(path)
    engine = Engine()
    await engine.initialize(profile, adaptation=False)
    async with engine:
        name = engine.load(artifact.path, trust=trust, concurrency=concurrency)
        yield Serving(artifact, engine, name, profile, seed)


async def measure_replica(
    path: Path,
    profile: str,
    *,
    trust: bool = False,
    concurrency: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Replica:
    """Serve the artifact as `served` does, and measure it for some seconds.

    Callers are in the same event loop: what a request takes is their work, too. Raises an InputError for an
    artifact that cannot be loaded, MeasurementError where not all is answered.
    """
    async with served(path, profile, trust=trust, concurrency=concurrency, seed=seed) as serving:
        tell("measuring what requests take through the engine, and how fast the machine goes meanwhile")
        for _ in range(ROUNDS):
            await serving.sustained.round()
        return serving.replica()


def asking(engine: Engine, name: str) -> Callable[[Any, int, int], Awaitable[Any]]:
    """What the load generator calls."""
    return lambda observation, priority, deadline_ns: engine.infer(name, *observation)


def observations(artifact: Artifact, seed: int) -> Sequence[Any]:
    """Drawn ones that fit the artifact, 256 at least."""
    return rows(ring(artifact.manifest.parsed_signature(), samples=None, seed=seed))
