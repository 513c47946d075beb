"""Build processes: parallel, in order, and none of their ends takes the run along."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from grandopt.artifacts.store import Store
from grandopt.workflows.building.built import BUDGET_USED, NOT_BUILT
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.building.request import BuildResult, Deadline, Expected, Variant


@pytest.fixture
def builders() -> Iterator[BuildPool]:
    with BuildPool(2, "tests.workflows.odd_builder") as made:
        yield made


def for_seconds(enough: float, last: float | None = None) -> Deadline:
    now = time.monotonic()
    return Deadline(now + enough, now + (enough if last is None else last))


def build(
    builders: BuildPool, folder: Path, *labels: str, seconds: float = 60.0, last: float | None = None
) -> dict[str, BuildResult]:
    store = Store(folder / "store")
    variants: list[Variant] = [(label, 1) for label in labels]
    done = builders.build(folder, variants, store, for_seconds(seconds, last), lambda running, done: None)
    assert len(done) == len(labels)
    return {result.variant[0]: result for result in done}


def ends(process: int, seconds: float = 30.0) -> None:
    """Fail unless the process is gone, or a zombie, soon: a busy kernel takes its time over a kill."""
    last = time.monotonic() + seconds
    while psutil.pid_exists(process):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        assert time.monotonic() < last, f"process {process} still runs"
        time.sleep(0.05)


def test_a_crash_costs_one_candidate(builders: BuildPool, tmp_path: Path) -> None:
    done = build(builders, tmp_path, "killed", "crashes", "a", "b", "c")
    assert done["killed"].status == "failed"
    assert "SIGKILL" in str(done["killed"].reason)
    assert done["crashes"].status == "failed"
    assert "the compiler is broken" in str(done["crashes"].reason)
    assert {done[label].status for label in "abc"} == {"verified"}


@pytest.mark.slow
def test_a_damaged_process_does_not_count_against_the_next_candidate(tmp_path: Path) -> None:
    with BuildPool(1, "tests.workflows.odd_builder") as builders:
        done = build(builders, tmp_path, "damages", "a", "crashes", "b")
    assert done["a"].status == "verified"
    assert done["b"].status == "verified"
    assert done["crashes"].status == "failed", "its own doing, found out twice"


@pytest.mark.slow
def test_a_hanging_build_ends_with_the_budget_and_takes_its_children(
    builders: BuildPool, tmp_path: Path
) -> None:
    done = build(builders, tmp_path, "hangs", "a", seconds=4.0)  # what hangs does so for good
    assert done["hangs"].status == "not measured"
    assert str(done["hangs"].reason).startswith(BUDGET_USED)
    assert done["a"].status == "verified"
    ends(int((tmp_path / "child").read_text()))
    assert build(builders, tmp_path, "a")["a"].status == "verified", "a new process took its place"


@pytest.mark.slow
def test_while_nothing_is_verified_building_goes_on_longer(builders: BuildPool, tmp_path: Path) -> None:
    alone = build(builders, tmp_path, "slow", seconds=0.1, last=60.0)
    assert alone["slow"].status == "verified"
    both = build(builders, tmp_path, "a", "hangs", "b", seconds=3.0, last=60.0)
    assert [both[label].status for label in ("a", "hangs", "b")] == ["verified", "not measured", "verified"]


def test_the_certain_one_is_finished_whatever_the_time(builders: BuildPool, tmp_path: Path) -> None:
    store, now = Store(tmp_path / "store"), time.monotonic()
    variants: list[Variant] = [("a", 1), ("slow", 1), ("hangs", 1)]
    for enough in (-1.0, 1.0):  # begun too late, and begun in time and not ready
        deadline = Deadline(now + enough, now + enough, ("slow", 1))
        done = builders.build(tmp_path, variants[::-1], store, deadline, lambda running, done: None)
        status = {result.variant[0]: result.status for result in done}
        assert (status["slow"], status["hangs"]) == ("verified", "not measured")
    broken = Deadline(now, now, ("crashes", 1))
    (result,) = builders.build(tmp_path, [("crashes", 1)], store, broken, lambda running, done: None)
    assert result.crashed
    assert "the compiler is broken" in str(result.reason)


def test_what_was_not_begun_says_so(builders: BuildPool, tmp_path: Path) -> None:
    done = build(builders, tmp_path, "a", "b", "c", seconds=-1.0)
    assert {(result.status, result.reason) for result in done.values()} == {("not measured", NOT_BUILT)}


@pytest.mark.slow
def test_slow_builds_are_kept_from_holding_all_processes(builders: BuildPool, tmp_path: Path) -> None:
    variants: list[Variant] = [("hangs", 1), ("slow", 1), ("a", 1), ("b", 1)]
    expected = {variant: Expected(60.0) for variant in variants[:2]}
    begun: list[tuple[Variant, ...]] = []

    def note(running: Sequence[Variant], done: Sequence[BuildResult]) -> None:
        begun.append(tuple(running))

    store = Store(tmp_path / "store")
    results = builders.build(tmp_path, variants, store, for_seconds(6.0), note, expected)
    status = {result.variant[0]: result.status for result in results}
    assert status == {"hangs": "not measured", "slow": "verified", "a": "verified", "b": "verified"}
    assert [running[-1][0] for running in begun] == ["hangs", "a", "b", "slow"]


def test_what_takes_longer_than_is_left_by_what_was_seen_is_not_begun(
    builders: BuildPool, tmp_path: Path
) -> None:
    expected = {("slow", 1): Expected(90.0, seen=True)}
    store = Store(tmp_path / "store")
    (result,) = builders.build(
        tmp_path, [("slow", 1)], store, for_seconds(60.0), lambda running, done: None, expected
    )
    assert (result.status, result.seconds) == ("not measured", 0.0)
    assert result.reason is not None
    assert result.reason.text.endswith("less was left than the 90 s that it is expected to take")


def test_builds_run_side_by_side_in_processes_that_stay(builders: BuildPool, tmp_path: Path) -> None:
    first = build(builders, tmp_path, "slow", "a", "b")
    # While one process sleeps, the other does all the rest.
    pids = {label: str(result.reason).split()[0] for label, result in first.items()}
    assert pids["a"] == pids["b"] != pids["slow"]
    again = build(builders, tmp_path, "slow", "a")
    assert {str(result.reason).split()[0] for result in again.values()} == set(pids.values())


def test_an_interrupt_ends_the_processes(builders: BuildPool, tmp_path: Path) -> None:
    def interrupt(running: object, done: object) -> None:
        raise KeyboardInterrupt

    children = set(psutil.Process().children())
    variants: list[Variant] = [("slow", 1), ("hangs", 1)]
    with pytest.raises(KeyboardInterrupt):
        builders.build(tmp_path, variants, Store(tmp_path / "store"), for_seconds(60.0), interrupt)
    assert not [child for child in set(psutil.Process().children()) - children if child.is_running()]
