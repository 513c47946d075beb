"""Build processes: parallel, in order, and none of their ends takes the run along."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from grandopt.artifacts.store import Store
from grandopt.workflows.builders import Builders, Outcome, Patience, Place
from grandopt.workflows.entry import BUDGET_USED


@pytest.fixture
def builders() -> Iterator[Builders]:
    with Builders(2, "tests.workflows.odd_builder") as made:
        yield made


def for_seconds(enough: float, last: float | None = None) -> Patience:
    now = time.monotonic()
    return Patience(now + enough, now + (enough if last is None else last))


def build(
    builders: Builders, folder: Path, *labels: str, seconds: float = 60.0, last: float | None = None
) -> dict[str, Outcome]:
    store = Store(folder / "store")
    places: list[Place] = [(label, 1) for label in labels]
    done = builders.build(folder, places, store, for_seconds(seconds, last), lambda running, done: None)
    assert len(done) == len(labels)
    return {outcome.place[0]: outcome for outcome in done}


def test_a_crash_costs_one_candidate(builders: Builders, tmp_path: Path) -> None:
    done = build(builders, tmp_path, "killed", "crashes", "a", "b", "c")
    assert done["killed"].status == "failed"
    assert "SIGKILL" in (done["killed"].reason or "")
    assert done["crashes"].status == "failed"
    assert "the compiler is broken" in (done["crashes"].reason or "")
    assert {done[label].status for label in "abc"} == {"verified"}


def test_a_hanging_build_ends_with_the_budget_and_takes_its_children(
    builders: Builders, tmp_path: Path
) -> None:
    start = time.monotonic()
    done = build(builders, tmp_path, "hangs", "a", seconds=4.0)
    assert time.monotonic() - start < 10
    assert done["hangs"].status == "not measured"
    assert (done["hangs"].reason or "").startswith(BUDGET_USED)
    assert done["a"].status == "verified"
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert build(builders, tmp_path, "a")["a"].status == "verified", "a new process took its place"


def test_while_nothing_is_verified_building_goes_on_longer(builders: Builders, tmp_path: Path) -> None:
    alone = build(builders, tmp_path, "slow", seconds=0.1, last=60.0)
    assert alone["slow"].status == "verified"
    both = build(builders, tmp_path, "a", "hangs", "b", seconds=3.0, last=60.0)
    assert [both[label].status for label in ("a", "hangs", "b")] == ["verified", "not measured", "verified"]


def test_what_was_not_begun_says_so(builders: Builders, tmp_path: Path) -> None:
    done = build(builders, tmp_path, "a", "b", "c", seconds=-1.0)
    assert {(outcome.status, outcome.reason) for outcome in done.values()} == {("not measured", BUDGET_USED)}


def test_builds_run_side_by_side_in_processes_that_stay(builders: Builders, tmp_path: Path) -> None:
    first = build(builders, tmp_path, "slow", "a", "b")
    # While one process sleeps, the other does all the rest.
    pids = {label: (outcome.reason or "").split()[0] for label, outcome in first.items()}
    assert pids["a"] == pids["b"] != pids["slow"]
    again = build(builders, tmp_path, "slow", "a")
    assert {(outcome.reason or "").split()[0] for outcome in again.values()} == set(pids.values())


def test_an_interrupt_ends_the_processes(builders: Builders, tmp_path: Path) -> None:
    def interrupt(running: object, done: object) -> None:
        raise KeyboardInterrupt

    children = set(psutil.Process().children())
    places: list[Place] = [("slow", 1), ("hangs", 1)]
    with pytest.raises(KeyboardInterrupt):
        builders.build(tmp_path, places, Store(tmp_path / "store"), for_seconds(60.0), interrupt)
    assert not [child for child in set(psutil.Process().children()) - children if child.is_running()]
