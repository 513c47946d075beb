"""Pipelines: a graph of agents and functions that is called like one agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from grandopt.errors import ConfigError, DeadlineExceeded, GrandoptError, SignatureError
from grandopt.runtime.histogram import LatencyCounts, LatencyHistogram
from grandopt.runtime.scheduling.call import deadline_of
from grandopt.runtime.scheduling.pipelines.gather import Fit, Slots, pick
from grandopt.runtime.scheduling.pipelines.graph import GraphLike, graph_of
from grandopt.runtime.scheduling.pipelines.passage import Passage
from grandopt.runtime.scheduling.pipelines.stage import REQUEST, Agents, Reference, Source
from grandopt.runtime.scheduling.pipelines.step import StageStats, Step, step_of
from grandopt.runtime.scheduling.request import Priority, priority_of


@dataclass(frozen=True)
class PipelineStats:
    """Counts since the beginning; `latency` is that of the whole for answered requests, `stages` by name.

    `missed` requests were late, `failed` ones raised another error, `cancelled` ones lost their caller.
    """

    latency: LatencyCounts
    stages: Mapping[str, StageStats]
    answered: int
    failed: int
    missed: int
    cancelled: int


class Pipeline:
    """Answers requests with the stages of `graph`, each of which starts as soon as its inputs are there.

    Stages that do not need each other run at the same time, and so do the stages of different requests. A
    deadline is one for the whole: stages get it with their inputs, and when it comes what still runs is
    cancelled. An error of a stage ends its request alone, and carries the stage's name. A function that runs
    in a thread cannot be stopped; what it gives is then discarded.

    `agents` gives the agent of a name; `outputs` names the outputs and their sources, by default those of the
    last stage. Raises ConfigError for a graph that cannot be run (see `graph_of`), and UnknownAgentError.

    Thread safety: a pipeline belongs to one event loop.
    """

    def __init__(
        self,
        name: str,
        graph: GraphLike,
        agents: Agents,
        *,
        outputs: Mapping[str, Source] | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.name, self._where = name, f"pipeline {name!r}"
        try:
            checked = graph_of(graph, agents, outputs)
        except ConfigError as error:
            raise ConfigError(f"{self._where}: {error}") from error
        self.inputs = tuple(checked.inputs)
        """The names of what a request holds, in the order in which the stages first take it."""
        self._fits = [None if spec is None else Fit(spec) for spec in checked.inputs.values()]
        places = {Reference(REQUEST, input_): (0, at) for at, input_ in enumerate(self.inputs)}
        for slot, node in enumerate(checked.nodes, 1):
            places |= {Reference(node.name, output): (slot, at) for at, output in enumerate(node.outputs)}
        self._steps = [step_of(node, places, slot) for slot, node in enumerate(checked.nodes, 1)]
        self._after: list[list[Step]] = [[] for _ in range(len(self._steps) + 1)]
        self._waits = [0] * len(self._after)
        by_name = {step.name: step for step in self._steps}
        for node, step in zip(checked.nodes, self._steps, strict=True):
            self._waits[step.slot] = len(node.needs)
            for needed in node.needs:
                self._after[by_name[needed].slot].append(step)
        self._first = [step for step in self._steps if not self._waits[step.slot]]
        self._outputs = {output: pick(parts, places) for output, parts in checked.outputs.items()}
        self._clock = clock
        self._latency = LatencyHistogram()
        self._answered = self._failed = self._missed = self._cancelled = 0

    def __call__(
        self,
        *observation: Any,
        priority: Priority | int | str = Priority.NORMAL,
        deadline_s: float | None = None,
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """To be awaited: the outputs by name, arrays [*shape] for those of agents.

        Takes the values of `inputs` in order, or one mapping by name, without a batch. Raises SignatureError
        for values that do not fit, DeadlineExceeded, AgentFailed for what a function raises, and what agents
        raise.
        """
        rank = priority if type(priority) is Priority else priority_of(priority)
        deadline = 0 if deadline_s is None else deadline_of(deadline_s, self._clock())
        return self.answer(observation, rank, deadline)

    async def answer(self, observation: tuple[Any, ...], priority: int, deadline_ns: int) -> dict[str, Any]:
        """As a call, with the deadline as a time of the clock in nanoseconds, 0 none."""
        begun = self._clock()
        slots: Slots = [self._request(observation), *[()] * len(self._steps)]
        passage = Passage(self._where, self._after, self._waits, slots, priority, deadline_ns, self._clock)
        try:
            if deadline_ns:
                await self._run_until(passage, deadline_ns, begun)
            else:
                await passage.run(self._first)
            outputs = {name: taken(slots) for name, taken in self._outputs.items()}
        except asyncio.CancelledError:
            self._cancelled += 1
            raise
        except DeadlineExceeded:
            self._missed += 1
            raise
        except GrandoptError:
            self._failed += 1
            raise
        self._answered += 1
        self._latency.record(self._clock() - begun)
        return outputs

    def stats(self) -> PipelineStats:
        """What was done until now."""
        return PipelineStats(
            latency=self._latency.snapshot(),
            stages={step.name: step.stats() for step in self._steps},
            answered=self._answered,
            failed=self._failed,
            missed=self._missed,
            cancelled=self._cancelled,
        )

    async def _run_until(self, passage: Passage, deadline: int, now: int) -> None:
        try:
            async with asyncio.timeout(max(0, deadline - now) / 1e9):
                await passage.run(self._first)
        except TimeoutError as error:  # a stage's own is an AgentFailed
            raise DeadlineExceeded(
                f"{self._where}: the deadline passed in stage {passage.running!r}"
            ) from error
        if self._clock() > deadline:
            raise DeadlineExceeded(f"{self._where}: the deadline passed in stage {passage.running!r}")

    def _request(self, observation: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of the inputs in order, those of a known form converted to it."""
        values = observation
        if len(values) == 1 and isinstance(values[0], Mapping):
            given = values[0]
            missing = [name for name in self.inputs if name not in given]
            extra = [str(name) for name in given if name not in self.inputs]
            if missing or extra:
                raise SignatureError(
                    f"{self._where}: the inputs are wrong: missing {', '.join(missing) or 'none'}, "
                    f"unexpected {', '.join(extra) or 'none'}; it takes {', '.join(self.inputs)}"
                )
            values = tuple([given[name] for name in self.inputs])
        if len(values) != len(self._fits):
            raise SignatureError(
                f"{self._where}: expected {len(self._fits)} input(s) ({', '.join(self.inputs)}), got "
                f"{len(values)}"
            )
        return tuple(
            [value if fit is None else fit(value) for fit, value in zip(self._fits, values, strict=True)]
        )
