"""One replica: an engine with all agents of the application, asked through handles and over HTTP."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grandopt.config.names import DEFAULT_PROFILE
from grandopt.distributed.ray.carried import CarriedArtifact
from grandopt.distributed.ray.frames import Frame
from grandopt.distributed.ray.recent import RecentTimes
from grandopt.distributed.ray.versions import Versions, versions
from grandopt.runtime.engine.engine import Engine
from grandopt.serving.repository.repository import Repository

if TYPE_CHECKING:
    from grandopt.distributed.ray.ingress import Ingress

DIGEST_BYTES = 32
"""An answer begins with the digest of the build that gave it."""


class Facts(NamedTuple):
    """What a client has to know of an agent; the signature as plain data."""

    signature: Mapping[str, Any]
    digest: str
    versions: Versions


class AgentsReplica:
    """What Ray Serve makes a replica of; its callers are handles.

    It belongs to the event loop that Ray Serve runs it in. No library is imported but those of the agents'
    engines.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        artifacts: Sequence[CarriedArtifact],
        drivers: Versions,
        profile: str = DEFAULT_PROFILE,
        trust: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ConfigError where the driver's versions are others, and what loading an artifact raises."""
        drivers.check(versions(), "the replica")
        self._deployed = list(artifacts), dict(options or {})
        self._place = tempfile.TemporaryDirectory(prefix="grandopt-replica-")
        folder = Path(self._place.name)
        for artifact in artifacts:
            placed = artifact.placed(folder)
            if placed.parent != folder:
                (folder / artifact.name).symlink_to(placed, target_is_directory=True)
        self._engine = Engine()
        await self._engine.initialize(profile)
        self._repository = Repository(folder, self._engine, trust=trust)
        await self._repository.start()
        self._ingress: Ingress | None = None
        self._frames: dict[str, tuple[Frame, Frame, bytes]] = {}
        for name, served in self._repository.served.items():
            inputs, outputs = Frame(served.signature.inputs), Frame(served.signature.outputs)
            self._frames[name] = inputs, outputs, bytes.fromhex(served.digest)
        self._times = RecentTimes()

    # ---- through a handle ---------------------------------------------------------------------------------

    async def infer(self, agent: str, *observation: Any, **options: Any) -> Any:
        """The answer to one observation or a batch, as `Engine.infer`, with its options and errors."""
        began = time.perf_counter()
        answer = await self._engine.infer(agent, *observation, **options)
        self._times.note(time.perf_counter() - began)
        return answer

    async def infer_frame(self, agent: str, rows: int, data: bytes) -> bytes:
        """The answers to the rows of a frame, from one build, whose digest comes first."""
        began = time.perf_counter()
        served = self._engine.served(agent)  # says which agents there are where it is none of them
        inputs, outputs, digest = self._frames[agent]
        arrays = tuple(inputs.unpacked(data, rows))
        answer = digest + outputs.packed(await served.infer_batch(arrays, 1, 0))
        self._times.note(time.perf_counter() - began)
        return answer

    async def facts(self, agent: str) -> Facts:
        """What a client needs to know; raises UnknownAgentError."""
        served = self._engine.served(agent)
        version = served.version
        return Facts(version.signature.to_json(), version.origin.digest, versions())

    async def deployed(self) -> tuple[list[CarriedArtifact], dict[str, Any]]:
        """What was deployed here and how, to be deployed again where the next one fails."""
        return self._deployed

    async def state(self) -> dict[str, Any]:
        """Of this replica: its node and process, its agents with their builds, and whether it has torch."""
        import ray

        return {
            "node": ray.get_runtime_context().get_node_id(),
            "process": os.getpid(),
            "agents": {name: served.digest for name, served in self._repository.served.items()},
            "torch": "torch" in sys.modules,
        }

    # ---- HTTP ---------------------------------------------------------------------------------------------

    async def __call__(self, request: Any) -> Any:
        """One request of the Open Inference Protocol, as Ray Serve's proxy hands it over."""
        if self._ingress is None:
            from grandopt.distributed.ray.ingress import Ingress  # its libraries are for HTTP alone

            self._ingress = Ingress(self._engine, self._repository)
        began = time.perf_counter()
        answer = await self._ingress.answer(request)
        self._times.note(time.perf_counter() - began)
        return answer

    # ---- what Ray Serve asks ------------------------------------------------------------------------------

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `scaling` goes by: rows that wait in the engine, and the p99 of the last seconds' calls."""
        batches = [stats.batches for stats in self._engine.stats().agents.values()]
        return {
            "waiting": float(sum(one.depth for one in batches if one is not None)),
            "p99_s": self._times.p99_s(),
        }

    async def __del__(self) -> None:  # Ray Serve awaits it when the last request is answered
        # Where the constructor failed, some of them are not there.
        if (repository := getattr(self, "_repository", None)) is not None:
            await repository.stop()
        if (engine := getattr(self, "_engine", None)) is not None:
            await engine.shutdown()
        if (place := getattr(self, "_place", None)) is not None:
            place.cleanup()
