"""The whole serving suite in a short form: every way of serving that is here, real agents, real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.cli.commands.benchmarks.serving import served_job
from grandopt.cli.option_groups import JobOptions
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.config.engines import TorchScriptOptions
from grandopt.config.schema import Job
from grandopt.suites.serving.agents import GATE, TACTICAL
from grandopt.suites.serving.contenders import ENGINE, GATE_RIVALS, RAY, RAY_FAST
from grandopt.suites.serving.suite import Setup, benchmark_serving
from grandopt.workflows.open_agents import open_agents
from grandopt.workflows.optimize import ARTIFACTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The reference agents; artifacts of the two that are served, quickly built, are below the output."""
    folder = tmp_path_factory.mktemp("serving")
    described = served_job(JobOptions(output=folder), "serving")
    store = Store(folder / "store")
    agents = {name: described.agents[name] for name in (GATE, TACTICAL)}
    for opened in open_agents(described.model_copy(update={"agents": agents})):
        name, program = opened.name, capture(opened.checkpoint, 0)
        place(
            build(program, Candidate("float32", TorchScriptOptions()), store).path, folder / ARTIFACTS / name
        )
    store.close()
    return described


def place(built: Path, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(built, target_is_directory=True)


def test_it_measures_what_is_here_and_names_what_is_not(job: Job) -> None:
    told: list[str] = []
    found = benchmark_serving(job, Setup(rounds=1, seconds=0.03, requests=500), {}, told.append)
    names = [ENGINE, *(rival.name for rival in GATE_RIVALS)]
    gate = {one.name: one for one in found.contestants if one.agent == GATE}
    assert list(gate) == names
    for name, one in gate.items():
        if name in (RAY, RAY_FAST, "batched"):
            assert "--rival" in (one.reason or "")
            assert one.callers == ()
            continue
        assert one.reason is None
        assert [row.callers for row in one.callers] == [64, 8]
        assert all(row.rate > 0 and row.samples > 0 for row in one.callers)
        assert one.deviation is not None
        assert one.deviation < 1e-3
    groups = {line.group for line in found.lines}
    assert len(groups) == 7
    absent = {line.text for line in found.lines if line.value is None and "--rival" in (line.reason or "")}
    assert absent == {"÷ batched", "÷ ray", "÷ ray, throughput"}
    rate = next(line for line in found.lines if line.text == "cache hit rate")
    assert rate.value is not None
    assert 0 < rate.value < 100
    assert set(found.under_load) == {GATE, TACTICAL}
    assert any("batched" not in text and "round 1 of 1" in text for text in told)
