"""The server of the memory benchmark, and its worker."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.measurement.process import WorkerProcess
from grandopt.measurement.serving import Server
from grandopt.measurement.serving_worker import answer
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature, TensorSpec


class Adding(Executor):
    """Counts its calls and adds one."""

    def __init__(self) -> None:
        super().__init__(Signature((TensorSpec("state", (3,)),), (TensorSpec("out", (3,)),)))
        self.calls = 0

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self.calls += 1
        return (inputs[0] + np.float32(1),)


def server(agent: Executor, recent: int = 4) -> Server:
    return Server(agent, [(np.full(3, number, np.float32),) for number in range(5)], 10, recent)


def test_every_request_is_timed_and_idle_moments_come_after_bursts() -> None:
    agent, idle = Adding(), []
    times = server(agent).serve(25, 10, lambda: idle.append(agent.calls))
    assert len(times) == agent.calls == 25
    assert min(times) > 0
    assert idle == [10, 20]


def test_requests_are_garbage_that_only_the_collector_finds() -> None:
    serving = server(Adding())
    per_request = serving.objects_per_request()
    assert 10 < per_request < 100
    gc.collect()
    with only_new_objects():
        serving.serve(50, 1000, lambda: None)
        found = gc.collect()
        left = sum(type(item).__name__ == "Request" for item in gc.get_objects())
    assert left == 4  # the last four are still reachable
    assert found >= 46 * per_request * 0.8


@contextmanager
def only_new_objects() -> Iterator[None]:
    """Collections only when they are called for, which do not look at what was there before."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def test_the_agent_alone_makes_no_garbage() -> None:
    serving = server(Adding())
    with only_new_objects():
        assert len(serving.agent_ns(300)) == 300
        assert gc.collect() == 0


def test_the_worker_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert answer({"kind": "dance"}) == {"error": "unknown kind of job 'dance'"}
    job: dict[str, Any] = {"kind": "tail", "artifact": str(tmp_path), "trust": False}
    assert "error" in answer(job)
    assert (
        "nothing to measure" in answer({"kind": "pool", "blocks": "array", "options": {"live": 0}})["error"]
    )


@pytest.mark.parametrize("kind", ["array", "buffer", "tensor"])
def test_the_worker_measures_pools(kind: str) -> None:
    found = answer({"kind": "pool", "blocks": kind, "options": {"sizes": [4096], "rounds": 3}})
    assert found["times"][0]["size"] == 4096
    assert found["times"][0]["fresh_ns"] > 0
    assert found["reason"]


def test_the_worker_is_a_process() -> None:
    worker = WorkerProcess(1, "grandopt.measurement.serving_worker")
    try:
        found = worker.ask(
            {"kind": "pool", "blocks": "buffer", "options": {"sizes": [64], "rounds": 2}}, 60.0
        )
    finally:
        worker.close()
    assert [row["size"] for row in found["times"]] == [64]
