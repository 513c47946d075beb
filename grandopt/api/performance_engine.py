"""The integrated engine: it serves agents, and makes the models that it serves faster."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import torch

from grandopt.api.optimizing.model import ServedModel
from grandopt.api.optimizing.original import original
from grandopt.api.optimizing.process import optimized
from grandopt.api.optimizing.request import Answer, packed
from grandopt.compiler.program import PICKLE_ERRORS
from grandopt.errors import ConfigError, GrandoptError, first_line
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import given
from grandopt.runtime.monitoring.monitor import Monitor

_log = logging.getLogger(__name__)
DESCRIPTION = ("state", "outputs", "stepwise", "fix")


class IntegratedPerformanceEngine(Engine):
    """An Engine that also takes models in memory and optimizes them while it serves them.

    ::

        async with IntegratedPerformanceEngine() as engine:
            model = engine.optimize_model(module, "gate", example_input)
            action = await model.infer(observation)     # the original answers at first
            await model.optimized()                     # from then on what was proven faster
    """

    def __init__(self, *, monitor: Monitor | None = None) -> None:
        super().__init__(monitor=monitor)
        self._models: dict[str, ServedModel] = {}

    def optimize_model(
        self,
        model: torch.nn.Module | Path | str,
        name: str,
        example_input: Any = None,
        *,
        profile: str | None = None,
        **settings: Any,
    ) -> ServedModel:
        """Serve a module, or the agent in a file, under `name` at once, and optimize it meanwhile.

        `example_input`, `profile` (that of the engine, unless given) and `settings` are those of
        `grandopt.optimize`, which runs on a copy of the model in a process of its own, with less right to the
        CPUs than the service. Until it ends the original answers; then the artifact takes over, if one was
        proven equal and faster. How it ended, and why, is in `get_stats()` of what is returned; a failure
        leaves the original and is a warning in the log.

        Copying and measuring the original holds up the event loop for some hundredths of a second. Raises
        ConfigError for a name that is taken and an unknown setting, and InputError for a model that is no
        agent.
        """
        self._require_loop()
        self._check_free(name)
        settings["profile"] = self._profile if profile is None else profile
        try:
            content = packed(model, example_input, name, settings)
        except PICKLE_ERRORS as error:
            raise ConfigError(
                f"{name}: {type(model).__name__} cannot be handed to another process: {first_line(error)}; "
                f"make its classes importable, or optimize it by grandopt.optimize and load the artifact"
            ) from error
        described = {key: settings[key] for key in DESCRIPTION if key in settings}
        executor = original(name, model, example_input, described)
        self._serve(name, given(executor, owned=True, engine="original"), None, {})
        served = self._models[name] = ServedModel(self, name)
        self._agents[name].original = served.why_original
        served.started(asyncio.ensure_future(self._optimize(served, content)))
        return served

    async def unload(self, name: str) -> None:
        """As Engine.unload; an optimization that is under way is ended first."""
        self._agent(name)  # here, or it raises
        model = self._models.pop(name, None)
        if model is not None:
            await model.cancel("it is served no longer")
        await super().unload(name)

    async def shutdown(self, *, drain: bool = True) -> None:
        """As Engine.shutdown; optimizations that are under way are ended, and leave no process."""
        if self._loop is not None and not self._closed:
            self._require_loop()
        models, self._models = list(self._models.values()), {}
        await asyncio.gather(*[model.cancel("the engine was shut down") for model in models])
        await super().shutdown(drain=drain)

    async def _optimize(self, model: ServedModel, content: bytes) -> None:
        try:
            answer = await optimized(content)
            if answer.verdict == "optimized" and answer.path is not None:
                await self.replace(model.name, answer.path, trust=True)  # made for this process
        except (GrandoptError, OSError) as error:
            answer = Answer("failed", f"no artifact could take over: {error}")
        model.ended(answer)
        if answer.verdict == "optimized":
            _log.info("%s: the artifact at %s answers from now on", model.name, answer.path)
        else:
            level = logging.WARNING if answer.verdict == "failed" else logging.INFO
            _log.log(level, "%s: the original goes on answering: %s", model.name, answer.reason)
