"""The server of the memory benchmark, and its worker."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import ArtifactError, ConfigError
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.wire.serving import BlocksKind, CalibratePool, ServeTail
from grandopt.measurement.worker.serving import Server
from grandopt.measurement.worker.serving_main import pool, tail
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
        left = sum(type(item).__name__ == "ServedRequest" for item in gc.get_objects())
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


def test_the_worker_refuses_what_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        tail(
            ServeTail(
                artifact=tmp_path,
                trust=False,
                ring=(),
                times=tmp_path / "times.npy",
                sessions=1,
                recent=1,
                burst=1,
                calls=1,
                collector=False,
            )
        )
    with pytest.raises(ConfigError, match="nothing to measure"):
        pool(CalibratePool("array", (4096,), live=0, rounds=3, max_seconds=1.0))


@pytest.mark.parametrize("kind", ["array", "buffer", "tensor"])
def test_the_worker_measures_pools(kind: BlocksKind) -> None:
    found = pool(CalibratePool(kind, (4096,), live=4, rounds=3, max_seconds=0.5))
    assert found.times[0].size == 4096
    assert found.times[0].fresh_ns > 0
    assert found.reason


def test_the_worker_is_a_process() -> None:
    worker = WorkerProcess(1, "grandopt.measurement.worker.serving_main")
    try:
        found = worker.ask(CalibratePool("buffer", (64,), live=4, rounds=2, max_seconds=0.5), 60.0)
    finally:
        worker.close()
    assert [row.size for row in found.times] == [64]
