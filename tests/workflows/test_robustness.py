"""Runs that are killed at any moment, meet a full disk, or share a folder: all on disk stays whole."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import read
from grandopt.artifacts.store import NOTES, Store
from grandopt.reporting.history import store as history
from tests.workflows import command

QUICK = ("optimize", "--agent", "lvn_embedder", "--engine", "native", "--profile", "basic", "--budget", "5")
PATIENCE_S = 300.0


def check_whole(folder: Path) -> None:
    """Everything below the folder is whole or absent."""
    command.artifacts(folder)
    reports = folder / "reports"
    if (reports / "optimization_report.json").exists():
        command.report(folder)
    if (reports / "history.sqlite").exists():
        history.read(reports / "history.sqlite")
    if (reports / "optimization.log").exists():
        text = (reports / "optimization.log").read_bytes().decode()
        assert not text or text.endswith("\n")
        assert all(len(line.split(" ", 4)) == 5 for line in text.splitlines())
    state = folder / ".grandopt"
    kept = Store(state / "store")
    for built in (state / "store").glob("[0-9a-f]*"):
        read(built).verify()
    for note in (state / "store" / NOTES).glob("[0-9a-f]*"):
        assert kept.note(note.name) is not None
    for database in folder.rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check_finishes(folder: Path) -> None:
    done = command.run(folder, *QUICK)
    assert done.returncode == 0, done.stderr
    assert command.report(folder).status == "complete"
    check_whole(folder)
    assert [path.name for path in command.artifacts(folder)] == ["lvn_embedder"]


def left_over(folder: Path) -> list[str]:
    """What killed writers left behind, and nobody has cleared away."""
    places = (folder, folder / "artifacts", folder / "artifacts" / "lvn_embedder", folder / "reports")
    return [
        str(path)
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.name.endswith((".unfinished", ".tmp"))
    ]


@pytest.mark.stress
def test_killed_at_twenty_moments(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    begin = time.monotonic()
    check_finishes(tmp_path / "first")
    whole_run = time.monotonic() - begin
    draw = random.Random(0)
    folder = tmp_path / "killed"
    folder.mkdir()
    for number in range(20):
        process = command.start(folder, *QUICK, *(["--no-resume"] if number % 3 == 0 else []))
        try:
            process.wait(draw.uniform(0.2, whole_run))
        except subprocess.TimeoutExpired:
            if number % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        check_whole(folder)
    check_finishes(folder)
    assert not left_over(folder)


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of that size; skips where none can be mounted."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"skipped: no file system can be mounted here ({made.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.stress
@pytest.mark.parametrize("kilobytes", [4, 64, 256, 600, 1200])
def test_a_full_disk_during_a_whole_run(kilobytes: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", kilobytes) as folder:
        done = command.run(folder, *QUICK)
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert done.stderr.splitlines()[-1].startswith("error: "), done.stderr
        check_whole(folder)
        subprocess.run(["mount", "-o", "remount,size=512m", str(folder)], check=True)
        check_finishes(folder)
        assert not left_over(folder)


@pytest.mark.stress
def test_two_runs_at_once_into_one_folder(tmp_path: Path) -> None:
    for _ in range(2):
        runs = [command.start(tmp_path, *QUICK, "--no-resume") for _ in range(2)]
        codes = [run.wait(PATIENCE_S) for run in runs]
        assert codes == [0, 0]
        check_whole(tmp_path)
    check_finishes(tmp_path)
    assert not left_over(tmp_path)
