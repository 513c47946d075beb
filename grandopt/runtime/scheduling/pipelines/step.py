"""How the stages of a pipeline are run for one request."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grandopt.errors import SignatureError
from grandopt.runtime.histogram import LatencyCounts, LatencyHistogram
from grandopt.runtime.scheduling.pipelines.gather import Fit, Places, Slots, pick
from grandopt.runtime.scheduling.pipelines.stage import Function, Node, Served, Values

Outputs = tuple[Any, ...]
"""What a stage gives, in the order of its outputs."""


@dataclass(frozen=True)
class StageStats:
    """The time of a stage for the requests that it answered, waiting included, and how many it failed."""

    latency: LatencyCounts
    failed: int


class Step(ABC):
    """A stage that is ready to run."""

    inline = False
    """Whether it computes on the event loop's thread as soon as it is begun."""

    def __init__(self, node: Node, places: Places, slot: int) -> None:
        self.name, self.slot = node.name, slot
        self.latency = LatencyHistogram()
        self.failed = 0
        self._picks = {name: pick(parts, places) for name, parts in node.inputs.items()}

    @abstractmethod
    def begin(
        self, slots: Slots, priority: int, deadline_ns: int, *, alone: bool
    ) -> Outputs | Awaitable[Outputs]:
        """The outputs, where they are there at once, or what they are awaited from.

        `alone` says that no other stage of the request runs. Raises what the agent or function raises.
        """

    def stats(self) -> StageStats:
        """What was done until now."""
        return StageStats(self.latency.snapshot(), self.failed)


class AgentStep(Step):
    """An agent, with nothing around it."""

    def __init__(self, node: Node, served: Served, places: Places, slot: int) -> None:
        super().__init__(node, places, slot)
        self._infer, self._submit = served.infer, served.submit or served.infer
        self._inputs = [(Fit(spec), self._picks[spec.name]) for spec in served.signature.inputs]

    def begin(
        self, slots: Slots, priority: int, deadline_ns: int, *, alone: bool
    ) -> Outputs | Awaitable[Outputs]:
        inputs = tuple([fit(taken(slots)) for fit, taken in self._inputs])
        return (self._infer if alone else self._submit)(inputs, priority, deadline_ns)


class FunctionStep(Step):
    """A function of the user's."""

    def __init__(self, node: Node, function: Function, places: Places, slot: int) -> None:
        super().__init__(node, places, slot)
        self._function, self._in_thread = function, node.stage.in_thread
        self._outputs = tuple(node.outputs)
        self.inline = not (self._in_thread or inspect.iscoroutinefunction(function))

    def begin(
        self, slots: Slots, priority: int, deadline_ns: int, *, alone: bool
    ) -> Outputs | Awaitable[Outputs]:
        values = {name: taken(slots) for name, taken in self._picks.items()}
        if not self.inline:
            return self._later(_called(self._function, values, self._in_thread))
        result = self._function(values)
        if inspect.isawaitable(result):
            return self._later(result)
        return _ordered(result, self._outputs)

    async def _later(self, result: Awaitable[Values]) -> Outputs:
        return _ordered(await result, self._outputs)


class WrappedStep(Step):
    """An agent with a function before or after it."""

    def __init__(self, node: Node, served: Served, places: Places, slot: int) -> None:
        super().__init__(node, places, slot)
        stage = node.stage
        self._pre, self._post, self._in_thread = stage.pre, stage.post, stage.in_thread
        self._served, self._outputs = served, tuple(node.outputs)
        self._fits = [Fit(spec) for spec in served.signature.inputs]

    async def begin(self, slots: Slots, priority: int, deadline_ns: int, *, alone: bool) -> Outputs:
        signature = self._served.signature
        values: Values = {name: taken(slots) for name, taken in self._picks.items()}
        if self._pre is not None:
            values = _mapping(await _called(self._pre, values, self._in_thread), "pre")
        inputs = [fit(value) for fit, value in zip(self._fits, signature.order(values), strict=True)]
        outputs = await self._served.infer(tuple(inputs), priority, deadline_ns)
        if self._post is None:
            return outputs
        names = [spec.name for spec in signature.outputs]
        given = dict(zip(names, outputs, strict=True))
        return _ordered(await _called(self._post, given, self._in_thread), self._outputs)


def step_of(node: Node, places: Places, slot: int) -> Step:
    """The step that runs a node."""
    if node.served is None:
        assert callable(node.stage.agent)  # `graph_of` has seen to it
        return FunctionStep(node, node.stage.agent, places, slot)
    kind = WrappedStep if node.stage.pre or node.stage.post else AgentStep
    return kind(node, node.served, places, slot)


async def _called(function: Function, values: Values, in_thread: bool) -> Any:
    result = await asyncio.to_thread(function, values) if in_thread else function(values)
    return await result if inspect.isawaitable(result) else result


def _mapping(result: Any, what: str) -> Values:
    if not isinstance(result, Mapping):
        raise SignatureError(f"{what} must give a mapping by name, gave {type(result).__name__}")
    return result


def _ordered(result: Any, names: Sequence[str]) -> Outputs:
    """The outputs that a function declared, in their order."""
    values = _mapping(result, "the function")
    missing = [name for name in names if name not in values]
    extra = [str(name) for name in values if name not in names]
    if missing or extra:
        raise SignatureError(
            f"the function declares {', '.join(names)}, but gave {', '.join(map(str, values)) or 'nothing'}"
        )
    return tuple([values[name] for name in names])
