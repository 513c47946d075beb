"""Pipelines, streams and sessions over the agents of an engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Hashable, Iterable, Mapping
from typing import Any

from grandopt.errors import ConfigError
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.scheduling.pipelines.graph import GraphLike
from grandopt.runtime.scheduling.pipelines.pipeline import Pipeline, PipelineStats
from grandopt.runtime.scheduling.pipelines.stage import Served, Source
from grandopt.runtime.scheduling.recurrent.sessions import Session
from grandopt.runtime.scheduling.streams.stream import Stream


class Flows:
    """What is made of single requests. `agent` gives the served agent of a name, or raises for it."""

    def __init__(self, agent: Callable[[str], ServedAgent]) -> None:
        self._agent = agent
        self._pipelines: dict[str, Pipeline] = {}

    def pipeline(self, name: str, graph: GraphLike, outputs: Mapping[str, Source] | None) -> Pipeline:
        """A pipeline over agents that are served now; raises ConfigError for a name that is taken."""
        if name in self._pipelines:
            raise ConfigError(f"there is a pipeline {name!r} already; choose another name")

        def served(agent: str) -> Served:
            found = self._agent(agent)
            submit = None if found.lone is None else found.lone.submit
            return Served(found.ask, found.signature, submit)

        made = self._pipelines[name] = Pipeline(name, graph, served, outputs=outputs)
        return made

    def remove_pipeline(self, name: str) -> None:
        """Forget it; raises ConfigError where there is none of that name."""
        if self._pipelines.pop(name, None) is None:
            raise ConfigError(f"there is no pipeline {name!r:.60}; there are {list(self._pipelines)}")

    def stream(
        self, name: str, source: Iterable[Any] | AsyncIterable[Any], options: Mapping[str, Any]
    ) -> Stream[Any, Any]:
        """The answers of an agent to a source of observations."""
        agent = self._agent(name)

        def ask(item: Any, priority: int, deadline: int) -> Any:
            return agent.answer(item if isinstance(item, tuple) else (item,), priority, deadline)

        return Stream(ask, source, **options)

    def session(self, name: str, key: Hashable) -> Session:
        """A stream of calls of a recurrent agent, with a state of its own."""
        return self._agent(name).sessions.open(key)

    def stats(self) -> dict[str, PipelineStats]:
        """Those of the pipelines, by name."""
        return {name: pipeline.stats() for name, pipeline in list(self._pipelines.items())}
