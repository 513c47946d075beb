"""A measurement is taken once per artifact and machine; an unsettled one a few times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler.build import original
from grandopt.workflows.job import Run
from grandopt.workflows.selection.characterisation import MOST_RUNS, measure_or_load
from tests.small_agents import Policy, program
from tests.workflows.conftest import MakeRun


class Stopwatch:
    """Measures 1, 2, 3, …"""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> dict[str, Any]:
        self.count += 1
        return {"value": self.count}


def asked(run: Run, artifact: Artifact, watch: Stopwatch, settings: int = 0, settled: bool = True) -> int:
    found = measure_or_load(run, "speed", [artifact], [settings], watch, lambda data: settled)
    assert found["measured"].endswith("Z")
    return int(found["value"])


def again(run: Run, *, resume: bool = True) -> Run:
    """The next run over the same store."""
    return replace(run, job=run.job.model_copy(update={"resume": resume}), taken=set())


def test_it_is_measured_once_and_again_for_other_settings(make_run: MakeRun) -> None:
    watch = Stopwatch()
    with make_run([]) as run:
        artifact = original(program(Policy), run.store)
        assert asked(run, artifact, watch) == asked(again(run), artifact, watch) == 1
        assert asked(run, artifact, watch, settings=1) == 2


def test_without_resume_it_is_measured_anew_but_once_in_a_run(make_run: MakeRun) -> None:
    watch = Stopwatch()
    with make_run([]) as run:
        artifact = original(program(Policy), run.store)
        assert asked(run, artifact, watch) == 1
        anew = again(run, resume=False)
        assert asked(anew, artifact, watch) == asked(anew, artifact, watch) == 2
        assert asked(again(run), artifact, watch) == 2, "the newest is what later runs find"


def test_an_unsettled_one_is_taken_again_a_few_times(make_run: MakeRun) -> None:
    watch = Stopwatch()
    with make_run([]) as run:
        artifact = original(program(Policy), run.store)
        found = [asked(again(run), artifact, watch, settled=False) for _ in range(MOST_RUNS + 2)]
        assert found == [*range(1, MOST_RUNS + 1), MOST_RUNS, MOST_RUNS]
