"""The program of the process that serves: `python -m grandopt.workflows.serving_trial.worker TASK ANSWER`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from grandopt.errors import GrandoptError, MeasurementError, Overloaded
from grandopt.measurement.load import timing
from grandopt.measurement.load.base import rows
from grandopt.measurement.load.concurrent import ConcurrentLoad
from grandopt.measurement.load.result import LoadResult, Outcome
from grandopt.measurement.load.settings import LoadSettings
from grandopt.reason import Reason, reason_fields
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.memory.resident import resident_reader
from grandopt.signature import Array
from grandopt.tuning.configuration.serving import engine_settings
from grandopt.verification.inputs import ring
from grandopt.verification.samples import load_samples
from grandopt.workflows.serving_trial.task import ServingTask

NAME = "agent"
ASKED = 64
"""Requests of each caller before the memory is looked at."""


async def measured(task: ServingTask) -> dict[str, float]:
    """Serve the artifact under the configuration, put the load on it, and give the figures by name."""
    settings = engine_settings(task.configuration)
    engine = Engine()
    # What moves settings by itself, or looks on, is off: the configuration is what is judged.
    await engine.initialize(task.profile, **settings, adaptation=False, monitoring=False)
    async with engine:
        engine.load(task.artifact, NAME, trust=task.trust, threads=task.threads)
        observations = rows(_observations(task))
        rate = task.load.rate
        alone = not settings["batching"]
        target = Target(engine, in_turn=alone and rate is None and task.load.callers > 1)
        await _asked(target, observations, task.load.callers)
        # Before the load, as what that writes down of each request is memory, too.
        memory = resident_reader(detailed=False)().all
        load = ConcurrentLoad(
            target,
            observations,
            LoadSettings(
                seconds=task.load.seconds,
                warmup_s=task.load.warmup_s,
                deadline_s=task.load.deadline_s,
                seed=task.load.seed,
            ),
        )
        result = await (load.closed(task.load.callers) if rate is None else load.at(rate))
    return {**_figures(result), "memory_mb": memory / 1e6}


class Target:
    """The served agent as load is put on it.

    Without batching, answers come without the event loop having gone round: a caller in a loop would keep all
    others out, and what these wait would be in no figure. With `in_turn` an answer during which nobody else
    asked is handed over after the others had their turn, so that it takes as long as it takes all of them.
    """

    def __init__(self, engine: Engine, *, in_turn: bool) -> None:
        self._engine = engine
        self._in_turn = in_turn
        self._asked = 0

    async def __call__(self, observation: tuple[Array, ...], priority: int, deadline_ns: int) -> None:
        self._asked += 1
        number = self._asked
        await self._engine.infer(NAME, *observation, priority=priority)
        if self._in_turn and self._asked == number:
            await asyncio.sleep(0)


async def _asked(target: Any, observations: Sequence[tuple[Array, ...]], callers: int) -> None:
    async def caller(first: int) -> None:
        for place in range(first, first + ASKED):
            with suppress(Overloaded):  # what is refused is counted under the load
                await target(observations[place % len(observations)], 1, 0)

    await asyncio.gather(*[caller(number * ASKED) for number in range(callers)])


def _observations(task: ServingTask) -> Sequence[Array]:
    from grandopt.artifacts.artifact import read

    signature = read(Path(task.artifact)).manifest.parsed_signature()
    samples = None if task.samples is None else load_samples(Path(task.samples), signature)
    return ring(signature, samples=samples, seed=task.load.seed)


def _figures(result: LoadResult) -> dict[str, float]:
    failed = result.count(Outcome.FAILED)
    if failed:
        raise MeasurementError(f"{failed} of {result.count()} requests failed: {result.first_error}")
    if not result.kept_up:
        raise MeasurementError(
            f"requests could not even be made when they were due: {result.achieved:.0f} a second were "
            f"answered, and {result.offered:.0f} were due; lower the rate"
        )
    figures = {
        "throughput": result.achieved,
        "refused": (result.count(Outcome.OVERLOADED) + result.count(Outcome.DEADLINE)) / result.count(),
    }
    for name, percent in (("latency_p50_us", 50.0), ("latency_p99_us", 99.0)):
        value = result.percentile_us(percent)
        if value is None:
            raise MeasurementError(f"p{percent:g} {result.unavailable(percent)}; let it run longer")
        figures[name] = value
    if result.deadline_ns is not None:
        figures["goodput"] = result.goodput()
    return figures


def main(task_path: str, answer_path: str) -> None:
    """Read the task, and write the figures, or the reason why there are none."""
    task = ServingTask.from_json(json.loads(Path(task_path).read_text(encoding="utf-8")))
    answer: dict[str, Any]
    try:
        answer = {"figures": timing.run(measured(task))}
    except GrandoptError as error:
        answer = reason_fields(Reason.of(error))
    Path(answer_path).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
