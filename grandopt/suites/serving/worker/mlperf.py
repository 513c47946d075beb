"""MLPerf LoadGen's Server scenario: its own thread issues queries by Poisson's law, and says what is VALID.

LoadGen (the package `mlcommons-loadgen`) holds the clock, the schedule, the percentiles and the verdict.
"""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np

from grandopt.errors import MeasurementError, Overloaded
from grandopt.runtime.engine.engine import Engine
from grandopt.suites.serving import contenders as names
from grandopt.suites.serving.wire import LoadgenRun, LoadgenVerdict, ServedAgent
from grandopt.suites.serving.worker.engine import PROFILE
from grandopt.suites.serving.worker.expected import Expected, artifacts, originals

PERCENTILE = 0.99
DETAIL, ACCURACY = "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
MARK = ":::MLLOG "


class Target(ABC):
    """What answers queries. `issue` is called in LoadGen's thread, with samples that have an id and an index.

    Every answer goes to LoadGen as an address and a size; the memory there stays as it is until LoadGen's
    call has returned, by when it has copied what it keeps.
    """

    def __init__(self, expected: Expected) -> None:
        self.expected = expected

    @abstractmethod
    def issue(self, samples: Sequence[Any]) -> None:
        """Answer them, now or later."""


class TorchScript(Target):
    """The frozen module, called where the query comes; it has no parameters, so no gradient is recorded."""

    def __init__(self, agent: ServedAgent) -> None:
        import torch

        from grandopt.suites.serving.worker.networks import network

        super().__init__(originals(agent))
        self._module = network(agent, names.SCRIPT)
        self._inputs = [torch.from_numpy(one[None].copy()) for one in self.expected.observations]
        self._bytes = 4 * self._module(self._inputs[0]).numel()

    def issue(self, samples: Sequence[Any]) -> None:
        for sample in samples:
            answer = self._module(self._inputs[sample.index])
            _complete(sample.id, answer.data_ptr(), self._bytes)


class InferNow(Target):
    """The engine's synchronous call, where the query comes."""

    def __init__(self, agent: ServedAgent, engine: Engine, name: str) -> None:
        super().__init__(artifacts(agent))
        self._engine, self._name = engine, name
        answer = engine.infer_now(name, self.expected.observations[0])
        self._out = np.empty_like(answer)
        self._place = self._out.ctypes.data

    def issue(self, samples: Sequence[Any]) -> None:
        for sample in samples:
            self._out[...] = self._engine.infer_now(self._name, self.expected.observations[sample.index])
            _complete(sample.id, self._place, self._out.nbytes)


class InferInLoop(Target):
    """The engine's coroutine: queries are handed to its event loop, which another thread runs."""

    def __init__(self, agent: ServedAgent, engine: Engine, name: str) -> None:
        super().__init__(artifacts(agent))
        self._engine, self._name = engine, name
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[int, int]] = deque()
        self._called = False
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def issue(self, samples: Sequence[Any]) -> None:
        self._waiting.extend((sample.id, sample.index) for sample in samples)
        with self._lock:
            called, self._called = self._called, True
        if not called:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            self._called = False
        while self._waiting:
            task = self._loop.create_task(self._answer(*self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: int, index: int) -> None:
        while True:
            try:
                answer = await self._engine.infer(self._name, self.expected.observations[index])
                break
            except (
                Overloaded
            ) as refusal:  # LoadGen waits for every answer, and counts all the time until then
                await asyncio.sleep(refusal.retry_after_s)
        _complete(query, answer.ctypes.data, answer.nbytes)


def _complete(query: int, address: int, size: int) -> None:
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query, address, size)])


def run(request: LoadgenRun) -> LoadgenVerdict:
    """One run of LoadGen in a process that has run none before."""
    return asyncio.run(_run(request))


async def _run(request: LoadgenRun) -> LoadgenVerdict:
    if request.way == names.SCRIPT:
        return await asyncio.to_thread(_tested, TorchScript(request.agent), request)
    engine = Engine()
    await engine.initialize(PROFILE)
    async with engine:
        name = engine.load(request.agent.artifact, trust=True)
        kind = InferNow if request.way == "infer_now" else InferInLoop
        return await asyncio.to_thread(_tested, kind(request.agent, engine, name), request)


def _tested(target: Target, request: LoadgenRun) -> LoadgenVerdict:
    """All answers compared with what they must be, then the run that counts; both by LoadGen."""
    _test(target, request, loadgen.TestMode.AccuracyOnly)
    _check(target.expected, json.loads((request.folder / ACCURACY).read_text(encoding="utf-8")))
    _test(target, request, loadgen.TestMode.PerformanceOnly)
    return verdict((request.folder / DETAIL).read_text(encoding="utf-8"))


def _test(target: Target, request: LoadgenRun, mode: Any) -> None:
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = mode
    settings.server_target_qps = request.rate
    settings.server_target_latency_ns = int(request.limit_s * 1e9)
    settings.server_target_latency_percentile = PERCENTILE
    settings.min_duration_ms = int(request.seconds * 1000)
    logs = loadgen.LogSettings()
    logs.log_output.outdir = str(request.folder)
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    count = len(target.expected.observations)
    system = loadgen.ConstructSUT(target.issue, _nothing)
    library = loadgen.ConstructQSL(count, count, _nothing, _nothing)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)


def _nothing(*_: Any) -> None:
    """Samples are in memory already, and nothing is held back that would have to be flushed."""


def _check(expected: Expected, answers: Sequence[dict[str, Any]]) -> None:
    """Raises MeasurementError when an observation was answered wrongly, or not at all."""
    asked = {answer["qsl_idx"] for answer in answers}
    if len(asked) < len(expected.observations):
        raise MeasurementError(f"LoadGen got answers to {len(asked)} observations only")
    for answer in answers:
        expected.check(answer["qsl_idx"], np.frombuffer(bytes.fromhex(answer["data"]), np.float32))


def verdict(detail: str) -> LoadgenVerdict:
    """What LoadGen's detailed log says of a run; raises MeasurementError where it does not."""
    found: dict[str, Any] = {}
    for line in detail.splitlines():
        if line.startswith(MARK):
            entry = json.loads(line.removeprefix(MARK))
            found[entry["key"]] = entry["value"]
    try:
        return LoadgenVerdict(
            valid=found["result_validity"] == "VALID",
            scheduled=float(found["result_scheduled_samples_per_sec"]),
            completed=float(found["result_completed_samples_per_sec"]),
            p99_s=float(found["result_99.00_percentile_latency_ns"]) / 1e9,
            queries=int(found["result_query_count"]),
        )
    except KeyError as error:
        raise MeasurementError(f"LoadGen's log {DETAIL} lacks {error}; it has {sorted(found)}") from error
