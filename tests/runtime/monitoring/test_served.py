"""Monitoring beside a real batcher of a real agent."""

from __future__ import annotations

import asyncio

import numpy as np

from grandopt.runtime.monitoring.sources import AgentSource, Looks
from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.calibration import measure_cost
from grandopt.runtime.scheduling.stats import BatchSettings
from grandopt.runtime.scheduling.workers.inline import InlineWorker
from grandopt.signature import Contract, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.monitoring.serving import Clock, monitor

SIGNATURE = Signature((TensorSpec("state", (4,)),), (TensorSpec("scores", (3,), role="scores"),))
EVIDENCE = {
    "observations": {
        "origin": "samples",
        "inputs": {"state": {"mean": [0] * 4, "std": [1] * 4, "rows": 5000}},
    }
}


def test_a_batcher_is_watched_and_its_rows_are_looked_at() -> None:
    async def serve() -> None:
        weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
        executor = FakeExecutor(SIGNATURE, lambda inputs: (inputs[0] @ weights,), Contract(action="argmax"))
        cost = measure_cost(executor)
        batcher = Batcher(executor, InlineWorker(executor), BatchSettings(), cost)
        looks = Looks.at(executor.signature, executor.contract, EVIDENCE)
        batcher.shown.tap = looks.tap
        clock = Clock()
        watch = monitor(clock)

        def every(batches: int) -> None:
            batcher.shown.every = batches

        watch.watch(
            AgentSource("gate", batcher.stats, cost=lambda: batcher.cost, looks=looks, tap_every=every)
        )
        rng = np.random.default_rng(1)
        asked = 0
        for _ in range(40):
            rows = rng.standard_normal((400, 4)).astype(np.float32)
            rows[:, 2] += 1.5
            await asyncio.gather(*[batcher.infer((row,)) for row in rows])
            asked += len(rows)
            metrics = await asyncio.to_thread(watch.look)
            clock.now += 1
            drift = metrics.agents["gate"].drift
            if drift is not None and drift.drifted is not None:
                break
        agent = metrics.agents["gate"]
        assert agent.total.answered == asked
        assert agent.total.latency.total == asked
        assert agent.settings == batcher.settings
        assert agent.workers == "inline"
        assert agent.drift is not None
        assert 0 < agent.drift.seen <= asked
        assert agent.drift.drifted is True
        assert [feature.element for feature in agent.drift.features if feature.drifted] == [2]
        assert agent.margins is not None
        assert "drifted_inputs" in [advice.code for advice in watch.recommendations().advice]
        await batcher.close()

    asyncio.run(serve())
