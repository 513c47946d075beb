"""Asking the user's evaluator, plain or asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any

from grandopt.errors import ConfigError, GrandoptError, TuningError
from grandopt.reason import Reason
from grandopt.tuning.configuration.condition import Value
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.result import Infeasible

Figures = ServingFigures | Mapping[str, float]
Evaluator = Callable[[dict[str, Value]], Figures | Awaitable[Figures]]


class Evaluation:
    """An evaluator at work, as a `with` block: all awaitables that it returns run in one event loop."""

    def __init__(self, evaluator: Evaluator) -> None:
        """Raises ConfigError for what cannot be called."""
        if not callable(evaluator):
            raise ConfigError(f"an evaluator is a function of a configuration, got {evaluator!r:.80}")
        self._evaluator = evaluator
        self._runner = asyncio.Runner()

    def __enter__(self) -> Evaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def figures(self, configuration: Mapping[str, Value]) -> ServingFigures:
        """The figures of one configuration.

        Raises Infeasible where the evaluator does, or raised an error of grandopt: the configuration cannot
        be used. Raises TuningError for something that are no figures, and for an asynchronous evaluator
        within a running event loop. What else the evaluator raises passes through.
        """
        try:
            given: Any = self._evaluator(dict(configuration))
            inside = inspect.isawaitable(given) and _loop_runs()
            if inspect.isawaitable(given) and not inside:
                given = self._runner.run(_awaited(given))
        except GrandoptError as error:
            raise Infeasible(Reason.of(error)) from error
        if inside:
            if inspect.iscoroutine(given):
                given.close()
            raise TuningError(
                "an asynchronous evaluator cannot run within an event loop that runs already; call from a "
                "thread, as in `await asyncio.to_thread(manager.optimize_configuration, evaluator, goal)`"
            )
        return ServingFigures.of(given)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given
