"""A pipeline over deployments: each agent has replicas of its own, and requests are sent through them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from grandopt.distributed.ray.agent import RayAgent
from grandopt.distributed.ray.versions import Versions, versions
from grandopt.errors import UnknownAgentError
from grandopt.runtime.scheduling.pipelines.graph import GraphLike
from grandopt.runtime.scheduling.pipelines.pipeline import Pipeline
from grandopt.runtime.scheduling.pipelines.stage import Served, Source


class PipelineReplica:
    """What Ray Serve makes a replica of; `agents` are the handles of the agents' deployments.

    Requests that are under way at once share calls to each agent. It belongs to the event loop that Ray Serve
    runs it in.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        graph: GraphLike,
        outputs: Mapping[str, Source] | None,
        drivers: Versions,
        replicas: int,
        **agents: Any,
    ) -> None:
        """Raises ConfigError for other versions, and for a graph that cannot be run."""
        drivers.check(versions(), "the replica")
        made = await asyncio.gather(
            *(RayAgent.of(handle, name, calls=replicas) for name, handle in agents.items())
        )
        self._agents = {agent.name: agent for agent in made}
        self._pipeline = Pipeline("pipeline", graph, self._served, outputs=outputs)

    async def infer(self, *observation: Any, **options: Any) -> dict[str, Any]:
        """The outputs by name, as those of an engine's pipeline, with its options and errors."""
        return await self._pipeline(*observation, **options)

    async def infer_many(self, observations: Sequence[Any]) -> list[dict[str, Any] | BaseException]:
        """The same for many requests in one call; an error stands in the place of its request's outputs."""
        asked = [self._pipeline(*_arguments(one)) for one in observations]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    async def inputs(self) -> tuple[str, ...]:
        """What a request holds, in order."""
        return self._pipeline.inputs

    def _served(self, name: str) -> Served:
        try:
            return self._agents[name].served()
        except KeyError:
            raise UnknownAgentError(
                f"no agent {name!r} is deployed; there are {', '.join(self._agents)}"
            ) from None

    async def __del__(self) -> None:  # Ray Serve awaits it when the last request is answered
        await asyncio.gather(*(agent.close() for agent in getattr(self, "_agents", {}).values()))


def _arguments(observation: Any) -> tuple[Any, ...]:
    return observation if isinstance(observation, tuple) else (observation,)
