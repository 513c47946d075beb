"""A job that is stopped keeps the agents that were done: every job, whatever stops it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig, Job
from grandopt.reporting.history import store
from grandopt.reporting.report import AgentReport, Report
from grandopt.workflows import optimize, tune
from grandopt.workflows.benchmark import benchmark
from grandopt.workflows.job import HISTORY, kept_when_stopped
from tests.reporting.samples import optimized

AGENTS = ("lvn_embedder", "regime_embedder")


def _job(output: Path) -> Job:
    agents = {name: AgentConfig.model_validate({"reference": name}) for name in AGENTS}
    return resolve(FileConfig(), agents, Overrides(profile="standard", output=output))


def _second_is_stopped(done: list[str]) -> Callable[..., AgentReport]:
    def work(_run: object, opened: object, **_more: object) -> AgentReport:
        name = opened.name  # type: ignore[attr-defined]
        if done:
            raise KeyboardInterrupt
        done.append(name)
        return optimized(name)

    return work


@pytest.mark.parametrize(
    ("module", "work", "run"),
    [
        (optimize, "optimize_agent", lambda job: optimize.optimize_job(job)),
        (tune, "tune_agent", lambda job: tune.tune_job(job, tune.Wish())),
        (benchmark, "benchmark_agent", lambda job: benchmark.benchmark_job(job)),
    ],
    ids=["optimize", "tune", "benchmark"],
)
def test_an_interrupt_keeps_the_agents_that_are_done(
    module: object,
    work: str,
    run: Callable[[Job], Report],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, done = _job(tmp_path), list[str]()
    monkeypatch.setattr(module, work, _second_is_stopped(done))
    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert done == [AGENTS[0]]
    records = store.read(tmp_path / HISTORY)
    assert [record.agent.agent for record in records] == [AGENTS[0]]


def test_nothing_is_kept_twice_of_what_ends_by_itself() -> None:
    kept: list[Report] = []
    with kept_when_stopped(lambda: pytest.fail("was not stopped"), kept.append):
        pass
    assert kept == []
