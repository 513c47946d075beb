"""The program of the serving suite's workers: `python -m grandopt.suites.serving.worker.main`.

A process serves in one way only, because what one leaves behind would be in the figures of the next.
"""

from __future__ import annotations

import asyncio

from grandopt.errors import MeasurementError
from grandopt.measurement.wire.codec import Asked
from grandopt.measurement.worker.pipe import serve
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import (
    CallAlone,
    LoadgenRun,
    Loops,
    PutUnderLoad,
    ReplayTrace,
    ServedAgent,
    ServeLoops,
    Tried,
)
from grandopt.suites.serving.worker.closed_loop import answers_per_second, check, closed_loop
from grandopt.suites.serving.worker.contender import Contender
from grandopt.suites.serving.worker.expected import Expected

WARM_UP_S = 0.3
FINALISTS, LONGER = 4, 4.0


def answer(asked: Asked) -> object:
    """The answer to one request, of its `answer_type`; a refusal is raised."""
    match asked.kind:
        case "serve loops":
            return loops(asked.read(ServeLoops))
        case "call alone":
            from grandopt.suites.serving.worker.alone import call_alone

            return call_alone(asked.read(CallAlone))
        case "replay trace":
            from grandopt.suites.serving.worker.trace import replay_trace

            return replay_trace(asked.read(ReplayTrace))
        case "loadgen run":
            from grandopt.suites.serving.worker.mlperf import run

            return run(asked.read(LoadgenRun))
        case "put under load":
            from grandopt.suites.serving.worker.under_load import put_under_load

            return put_under_load(asked.read(PutUnderLoad))
        case _:
            raise asked.unknown()


def loops(request: ServeLoops) -> Loops:
    """The loops of one contender, its answers checked before and within each."""
    return asyncio.run(_loops(request, opened(request.contender, request.agent)))


async def _loops(request: ServeLoops, contender: Contender) -> Loops:
    async with contender.running():
        return await _measured(request, contender)


async def _measured(request: ServeLoops, contender: Contender) -> Loops:
    expected = contender.expected()
    tried, setting = list[Tried](), request.setting
    if setting is None:
        tried = await _tried(request, contender, expected)
        setting = tried[0].setting if tried else contender.settings[0]
    found = []
    async with contender.serving(setting) as infer:
        for callers in request.callers:
            await check(infer, expected, callers)
            await answers_per_second(infer, expected, callers, min(WARM_UP_S, request.seconds))
            times = request.folder / f"times-{callers}.npy"
            found.append(await closed_loop(infer, expected, callers, request.seconds, times))
    return Loops(setting, tuple(tried), tuple(found), expected.error, tuple(contender.notes()))


async def _tried(request: ServeLoops, contender: Contender, expected: Expected) -> list[Tried]:
    """All settings, the fastest first; those that a short look found among the fastest were looked at for
    longer, too. Empty where there is only one."""

    async def rate(setting: str, seconds: float) -> Tried:
        async with contender.serving(setting) as infer:
            await check(infer, expected, request.callers[0])
            return Tried(setting, await answers_per_second(infer, expected, request.callers[0], seconds))

    if len(contender.settings) < 2:
        return []
    first = [await rate(setting, request.trial_s) for setting in contender.settings]
    first.sort(key=lambda one: one.rate, reverse=True)
    again = [await rate(one.setting, LONGER * request.trial_s) for one in first[:FINALISTS]]
    return sorted(again, key=lambda one: one.rate, reverse=True) + first[FINALISTS:]


def opened(name: str, agent: ServedAgent) -> Contender:
    """The contender of that name; raises MeasurementError where its library cannot be imported."""
    try:
        return _opened(name, agent)
    except ImportError as error:
        raise MeasurementError(f"{name} cannot be imported there: {error}") from error


def _opened(name: str, agent: ServedAgent) -> Contender:
    match name:
        case "grandopt engine":
            from grandopt.suites.serving.worker.engine import EngineContender

            return EngineContender(agent)
        case names.EAGER | names.SCRIPT:
            from grandopt.suites.serving.worker.direct import Inline

            return Inline(agent, name)
        case "eager in threads":
            from grandopt.suites.serving.worker.direct import Threads

            return Threads(agent)
        case "simple batcher, eager" | "simple batcher, torchscript":
            from grandopt.suites.serving.worker.simple_batcher import Simple

            return Simple(agent, name.rpartition(" ")[2])
        case "batched":
            from grandopt.suites.serving.worker.batched_package import Batched

            return Batched(agent)
        case "ray" | "ray, throughput":
            from grandopt.suites.serving.worker.ray_serve import RayServe

            return RayServe(agent, throughput=name != "ray")
        case names.RAY_TWO | names.RAY_TWO_FAST:
            from grandopt.suites.serving.worker.ray_serve import RayServe

            return RayServe(agent, throughput=name == names.RAY_TWO_FAST, replicas=2)
        case names.ON_RAY | names.ON_RAY_ALONE:
            from grandopt.suites.serving.worker.ray_replicas import RayReplicas

            return RayReplicas(agent, shared=name == names.ON_RAY, replicas=2)
        case _:
            raise MeasurementError(f"there is no way of serving called {name!r}")


if __name__ == "__main__":
    serve(answer)
