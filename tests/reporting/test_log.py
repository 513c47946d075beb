"""The log keeps one event on one line, whatever is in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from grandopt.errors import OutputError
from grandopt.reporting.log import RunLog, one_line


@pytest.fixture
def clock() -> Callable[[], datetime]:
    moments = iter(range(10_000))
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return lambda: start + timedelta(milliseconds=next(moments))


def test_lines_have_time_level_agent_step_and_message(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    path = tmp_path / "reports" / "optimization.log"
    with RunLog(path, "grandopt 0.1.0 optimize", clock) as log:
        log.write("info", "gate", "capture", "two graphs, 12 ms")
    assert path.read_text().splitlines() == [
        "2026-01-02T03:04:05.000Z info - - grandopt 0.1.0 optimize",
        "2026-01-02T03:04:05.001Z info gate capture two graphs, 12 ms",
    ]


def test_runs_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "optimization.log"
    for run in ("first", "second"):
        RunLog(path, run).close()
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["first", "second"]


def test_every_line_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "optimization.log"
    with RunLog(path, "header") as log:
        log.write("info", "gate", "build", "started")
        assert path.read_text().endswith("gate build started\n")


def test_nothing_in_a_message_breaks_the_line(tmp_path: Path) -> None:
    path = tmp_path / "optimization.log"
    hostile = "one\ntwo\rthree\x1b[31m\u2028\x00\udcff µ"
    with RunLog(path, "header") as log:
        log.write("error", "a b\n", "", hostile)
    lines = path.read_text().split("\n")
    assert len(lines) == 3
    assert lines[2] == ""
    words = lines[1].split(" ", 4)
    assert words[1:4] == ["error", "a_b", "-"]
    assert words[4] == r"one\ntwo\rthree\x1b[31m\u2028\x00\udcff µ"


def test_a_local_clock_is_written_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "optimization.log"
    zone = timezone(timedelta(hours=2))
    RunLog(path, "header", lambda: datetime(2026, 1, 1, 1, 0, tzinfo=zone)).close()
    assert path.read_text().startswith("2025-12-31T23:00:00.000Z ")


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "optimization.log"
    with RunLog(path, "header") as log:
        writers = [
            threading.Thread(
                target=lambda n=n: [log.write("info", "a", "s", str(n) * 500) for _ in range(50)]
            )
            for n in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 201
    assert all(len(set(line.rsplit(" ", 1)[1])) == 1 for line in lines[1:])


def test_a_log_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        RunLog(tmp_path, "header")


def test_a_full_disk_is_an_output_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OutputError, match="No space left"):
        RunLog(full, "header")


def test_one_line_leaves_ordinary_text_alone() -> None:
    assert one_line("1.9× faster (1.8–2.0), 12 µs") == "1.9× faster (1.8–2.0), 12 µs"
