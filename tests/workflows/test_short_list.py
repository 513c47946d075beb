"""The second machine of a kind builds and measures what was fast on the first, and says so of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grandopt.compiler.backends.native.toolchain import Compiler
from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig, FleetConfig
from grandopt.errors import BuildError
from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Trial, TuningResult
from grandopt.tuning.space import Choice
from grandopt.workflows.building.request import BuildResult
from grandopt.workflows.events import Event
from grandopt.workflows.job import Run, running
from grandopt.workflows.selection import short_list
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.short_list import build_told, is_short, share
from tests.workflows.fakes import measurement
from tests.workflows.test_candidate_set import candidate_set, said

NATIVE, WIDE = ("native/float32", 1), ("native/float32/256-bit", 1)
SCRIPT, PLAIN = ("torchscript/float32", 1), ("torchscript/float32/no-ofi", 1)
OUTPACED = Reason(ReasonCode.OUTPACED, "not built: it takes at least 3 µs")
FAILED = Reason(ReasonCode.ENGINE_FAILED, "no such instruction")


class NoBuilders:
    """Build processes that come to nothing; `asked` holds what they were to build."""

    count = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def build(self, folder: Path, variants: Any, *rest: Any) -> list[BuildResult]:
        self.asked += [label for label, _ in variants]
        return [BuildResult(variant, "failed", FAILED, 1.0) for variant in variants]


@contextmanager
def machine(tmp_path: Path, name: str, events: list[Event], *, resume: bool = True) -> Iterator[Run]:
    """A run on a machine with a folder of its own, and a store in common with the others; it has no build
    processes."""
    shared = tmp_path / "shared"
    shared.mkdir(exist_ok=True)
    config = AgentConfig(checkpoint=Path("policy"))
    wanted = Overrides(
        engines=("native", "torchscript"), precisions=("float32",), output=tmp_path / name, resume=resume
    )
    job = resolve(FileConfig(), {"policy": config}, wanted)
    job = job.model_copy(update={"fleet": FleetConfig(store=str(shared))})
    with running(job, tmp_path / name / "store", events.append) as run:
        yield replace(run, builders=NoBuilders())  # type: ignore[arg-type]


def trial(number: int, variant: tuple[str, int], us: float) -> Trial:
    figures = TrialFigures(us, None, 1e6 / us, 1.0)
    return Trial(number, Choice(*variant, 1), "complete", us, figures, None, 1.0)


def first_machine(tmp_path: Path, *, put: bool = True) -> list[Event]:
    """It has built and measured two candidates, and told the others; returns what was said."""
    events: list[Event] = []
    with machine(tmp_path, "first", events) as run:
        made = candidate_set(run)
        for variant in (NATIVE, SCRIPT):
            assert made.build_one(*variant).status == "verified"
            if put:
                run.store.share(made.earlier.key(variant))
        made.skip(WIDE, OUTPACED)
        # The search was mistaken about the fastest one; the final measurement was not.
        trials = (trial(0, NATIVE, 40.0), trial(1, SCRIPT, 30.0))
        final = measurement(original=90.0, native__float32=2.0)
        share(run, made, TuningResult(trials, trials[0], "latency", "exhausted"), final)
    return events


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_list, "crowded", lambda own: False)


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """From now on the compiler fails; what it is called with is noted."""
    called: list[object] = []

    def run(compiler: Compiler, arguments: list[str], folder: Path) -> None:
        called.append(arguments)
        raise BuildError("there is no compiler")

    monkeypatch.setattr(Compiler, "run", run)
    return called


def test_the_second_machine_compiles_nothing_and_measures_what_was_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_machine(tmp_path)
    called, events = without_compiler(monkeypatch), list[Event]()
    with machine(tmp_path, "second", events) as run:
        made = candidate_set(run)
        listed = build_told(run, made, BuildStage(run, made, 60.0))
        assert [(built.label, built.status) for built in listed] == [(NATIVE[0], "verified")]
        assert is_short(listed)
        rows = {(built.candidate.label, built.threads): built for built in made.builds()}
        assert called == []
        assert run.builders.asked == [PLAIN[0]], "of that nothing was told"  # type: ignore[attr-defined]
        assert rows[NATIVE].verification is not None, "it is verified here"
        assert rows[NATIVE].verification.passed
        reasons = {place: (built.status, built.reason) for place, built in rows.items()}
        status, reason = reasons[SCRIPT]
        assert (status, reason and reason.code) == ("not measured", ReasonCode.MEASURED_ELSEWHERE)
        assert "15 times as long as native/float32 on a machine of this kind on" in str(reason)
        status, reason = reasons[WIDE]
        assert (status, reason and reason.code) == ("not measured", ReasonCode.OUTPACED)
        assert str(reason).startswith(f"{OUTPACED} (found on a machine of this kind on ")
        assert reasons[PLAIN] == ("failed", FAILED)
        assert "2 of 4 candidates are measured here" in said(events, "build")[-1]


def test_where_nothing_of_what_was_fast_is_usable_all_is_left_to_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_machine(tmp_path, put=False)
    without_compiler(monkeypatch)
    events: list[Event] = []
    with machine(tmp_path, "second", events) as run:
        made = candidate_set(run)
        assert build_told(run, made, BuildStage(run, made, 60.0)) == []
        assert run.builders.asked == [NATIVE[0]]  # type: ignore[attr-defined]
        assert [built.label for built in made.builds()] == [NATIVE[0]]
        assert "is usable here" in said(events, "build")[-1]


def test_who_found_out_itself_or_is_to_find_out_anew_is_told_nothing(tmp_path: Path) -> None:
    first_machine(tmp_path)
    for name, resume in (("first", True), ("second", False)):
        with machine(tmp_path, name, [], resume=resume) as run:
            made = candidate_set(run)
            assert build_told(run, made, BuildStage(run, made, 60.0)) == []
            assert made.builds() == []


@pytest.mark.parametrize("change", ["seconds", "machine", "crowded"])
def test_only_figures_of_equal_machines_under_equal_conditions_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    if change == "crowded":
        monkeypatch.setattr(short_list, "crowded", lambda own: True)
    untold = ["what was found is not told to other machines: this one was busy with other work"]
    assert said(first_machine(tmp_path), "measure") == (untold if change == "crowded" else [])
    if change == "machine":
        monkeypatch.setenv("GRANDOPT_MACHINE", "another")
    with machine(tmp_path, "second", []) as run:
        if change == "seconds":
            profile = run.job.profile.model_copy(update={"budget_s": 1.0})
            run = replace(run, job=run.job.model_copy(update={"profile": profile}))
        made = candidate_set(run)
        assert build_told(run, made, BuildStage(run, made, 60.0)) == []
