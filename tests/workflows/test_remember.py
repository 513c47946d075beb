"""Every run is kept in the history, and no history ever stops one."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import FileConfig, Job
from grandopt.reporting.history.store import read
from grandopt.workflows.events import Event
from grandopt.workflows.job import HISTORY, remember
from tests.reporting.samples import kept, optimized, report


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return resolve(FileConfig(), {}, Overrides(output=tmp_path))


def test_a_run_is_added_below_the_output_folder(job: Job) -> None:
    events: list[Event] = []
    remember(job, report(), events.append)
    remember(job, report(optimized(), kind="benchmark"), events.append)
    assert [record.run.kind for record in read(job.output / HISTORY)] == ["optimize"] * 3 + ["benchmark"]
    assert events == []


def test_a_damaged_history_is_one_warning_and_stays(job: Job) -> None:
    path = job.output / HISTORY
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    events: list[Event] = []
    remember(job, report(), events.append)
    (event,) = events
    assert (event.level, event.step) == ("warning", "history")
    assert "this run is not in it" in event.message
    assert "\n" not in event.message
    assert path.read_bytes() == b"no database at all" * 100


def test_a_place_that_cannot_be_written_is_one_warning(job: Job) -> None:
    (job.output / "reports").write_text("a file")
    events: list[Event] = []
    remember(job, report(), events.append)
    assert [event.level for event in events] == ["warning"]


def test_a_run_that_came_to_nothing_is_not_kept(job: Job) -> None:
    waiting = kept(status="not run", shipped=None, original=None)
    remember(job, report(waiting, status="partial"), lambda event: pytest.fail(event.message))
    assert not (job.output / HISTORY).exists()
