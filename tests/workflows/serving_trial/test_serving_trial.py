"""Configurations measured on the real engine, each in a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.api.configuration import ConfigurationManager
from grandopt.api.serving_evaluator import ServingLoad, serving_evaluator
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from grandopt.errors import ArtifactError, ConfigError, SamplesError
from grandopt.reason import ReasonCode
from grandopt.runtime.engine.engine import Engine
from grandopt.tuning.configuration.serving import SERVING
from grandopt.tuning.result import Infeasible
from grandopt.workflows.serving_trial.measure import serve
from grandopt.workflows.serving_trial.task import ServingTask
from grandopt.workflows.serving_trial.worker import Target
from tests.engines.conftest import agent

SHORT = ServingLoad(callers=8, seconds=0.5, warmup_s=0.05)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("store"))
    return build(agent("decision_gate"), Candidate("float32", NativeOptions()), store).path


def task(artifact: Path) -> ServingTask:
    return ServingTask(str(artifact), SERVING.default, SHORT, "aggressive", None, False, None)


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("killed", ReasonCode.CRASHED, "was ended by SIGKILL"),
        ("raises", ReasonCode.CRASHED, "ended with 1: RuntimeError: a mistake"),
        ("ends", ReasonCode.CRASHED, "ended with 0"),
        ("sleeps", ReasonCode.NOT_MEASURED_IN_TIME, "was not done after"),
    ],
)
def test_a_process_without_an_answer_is_a_configuration_that_cannot_be_used(
    how: str, code: ReasonCode, words: str
) -> None:
    with pytest.raises(Infeasible, match=words) as caught:
        serve(task(Path(how)), worker="tests.workflows.serving_trial.other_worker", starting_s=1.0)
    assert caught.value.reason.code is code


def test_what_is_wrong_with_the_artifact_or_the_samples_is_said_at_once(gate: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        serving_evaluator(tmp_path / "none")
    with pytest.raises(SamplesError):
        serving_evaluator(gate, samples=tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="see `grandopt benchmark --suite cache`"):
        serving_evaluator(gate, SHORT)({"cache": True})
    with pytest.raises(ConfigError, match="callers must be at least 1, got 0"):
        ServingLoad(callers=0)
    with pytest.raises(ConfigError, match="rate must be a positive number, got nan"):
        ServingLoad(rate=float("nan"))


def test_no_caller_keeps_the_others_out_where_answers_come_at_once() -> None:
    order: list[int] = []

    class Direct(Engine):
        async def infer(self, name: str, *observation: Any, **how: Any) -> Any:
            return observation

    async def callers(in_turn: bool) -> None:
        target = Target(Direct(), in_turn=in_turn)

        async def caller(number: int) -> None:
            for _ in range(3):
                await target((np.zeros(1),), 1, 0)
                order.append(number)

        await asyncio.gather(*[caller(number) for number in range(3)])

    asyncio.run(callers(in_turn=True))
    assert order == [0, 1, 2] * 3
    order.clear()
    asyncio.run(callers(in_turn=False))
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.slow
def test_the_figures_are_those_of_the_load(gate: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, state=np.zeros((300, 152), dtype=np.float32))
    closed = serving_evaluator(gate, SHORT, samples=samples)({})
    assert closed.throughput > 0
    assert 0 < closed.latency_p50_us <= closed.latency_p99_us
    assert 20 < closed.memory_mb < 500
    assert closed.get("refused") == 0
    assert closed.goodput is None
    at_a_rate = ServingLoad(callers=8, rate=800.0, seconds=1.0, warmup_s=0.1, deadline_s=0.5)
    opened = serving_evaluator(gate, at_a_rate)({"batching": False})
    assert 600 < opened.throughput < 1000
    assert 0 < opened.goodput <= opened.throughput
    too_much = ServingLoad(callers=8, rate=2e6, seconds=0.05, warmup_s=0.0)
    with pytest.raises(Infeasible, match="lower the rate"):
        serving_evaluator(gate, too_much)({})


@pytest.mark.slow
def test_a_real_service_is_configured_without_an_evaluator_of_ones_own(gate: Path, tmp_path: Path) -> None:
    found = ConfigurationManager().optimize_configuration(
        serving_evaluator(gate, SHORT),
        "throughput",
        trials=6,
        repeats=5,
        finalists=1,
        constraints=["memory_mb <= 1000"],
        storage=f"sqlite:///{tmp_path / 'tuning.db'}",
    )
    assert len(found.trials) == 6
    assert found.verdict in ("better", "default_kept")
    assert found.confirmation is None or found.confirmation.rounds == 5
    varied = {
        name
        for trial in found.trials
        for name, value in trial.configuration.items()
        if value != SERVING.default.get(name, SERVING[name].default)
    }
    assert varied
    assert varied <= set(serving_evaluator(gate).parameters)
