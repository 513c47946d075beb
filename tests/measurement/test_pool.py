"""Workers that die, hang, or talk nonsense, and the processes that must not be left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.measure import measure
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.settings import MeasurementSettings
from tests.fakes_measurement import LOADER, ring, subject

SHORT = MeasurementSettings.quick(window_ms=1.0, rounds=3, max_seconds=0.2)
ROOT = Path(__file__).resolve().parents[2]


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def gone(pids: set[int], within_s: float = 10.0) -> bool:
    """Whether all the processes end, or are only waiting for their parent to notice."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(_running(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", r"measuring bad: the worker process ended with exit code 3.*first line \| out of luck"),
        ("raise", "exit code 1.*RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("garbage", "did not answer in JSON: b'not an answer"),
    ],
)
def test_a_worker_that_fails_is_replaced(tmp_path: Path, how: str, message: str) -> None:
    good, bad = subject(tmp_path, "good", "instant"), subject(tmp_path, "bad", "fault", how=how)
    with WorkerPool(1, loader=LOADER, grace_s=20.0) as pool:
        with pytest.raises(MeasurementError, match=message) as caught:
            measure([bad], ring(), SHORT, pool)
        assert "\n" not in str(caught.value)
        assert measure([good], ring(), SHORT, pool).summary("good").samples >= 150


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    before = children()
    with WorkerPool(1, loader=LOADER, grace_s=1.5) as pool:
        with pytest.raises(MeasurementError, match="did not answer within"):
            measure([subject(tmp_path, "bad", "fault", how="hang")], ring(), SHORT, pool)
        assert gone(children() - before)


def test_what_an_agent_prints_does_not_disturb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with WorkerPool(1, loader=LOADER, grace_s=20.0) as pool:
        measure([subject(tmp_path, "chatty", "fault", how="print")], ring(), SHORT, pool)
    assert capfd.readouterr() == ("", "")


def test_a_refused_artifact_is_named_and_the_worker_stays(tmp_path: Path) -> None:
    before = children()
    with WorkerPool(1, loader=LOADER, grace_s=20.0) as pool:
        measure([subject(tmp_path, "good", "instant")], ring(), SHORT, pool)
        worker = children() - before
        with pytest.raises(MeasurementError, match="wrong: its digest does not fit"):
            measure([subject(tmp_path, "wrong", "refused")], ring(), SHORT, pool)
        assert children() - before == worker
        assert len(worker) == 1


def test_workers_start_when_needed_and_end_with_the_pool(tmp_path: Path) -> None:
    before = children()
    with WorkerPool(2, loader=LOADER, grace_s=20.0) as pool:
        assert children() == before
        measure([subject(tmp_path, "a", "instant")], ring(), SHORT, pool)
        workers = children() - before
        assert len(workers) == 1
    assert gone(workers)
    with pytest.raises(MeasurementError, match="pool is closed"):
        measure([subject(tmp_path, "b", "instant")], ring(), SHORT, pool)
    with pytest.raises(MeasurementError, match="at least 1 process"):
        WorkerPool(0)


SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from grandopt.measurement.measure import measure
    from grandopt.measurement.process.pool import WorkerPool
    from grandopt.measurement.settings import MeasurementSettings
    from grandopt.measurement.subject import Subject
    from tests.fakes_measurement import LOADER, ring

    with WorkerPool(1, loader=LOADER) as pool:
        measure([Subject("a", Path(sys.argv[1]))], ring(), MeasurementSettings.quick(), pool)
    """
)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    hanging = subject(tmp_path, "a", "fault", how="hang", at=1)
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(hanging.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    try:
        workers: set[int] = set()
        end = time.monotonic() + 20.0
        while not workers and time.monotonic() < end:
            time.sleep(0.05)
            workers = {process.pid for process in psutil.Process(parent.pid).children(recursive=True)}
        assert workers, "no worker was started"
        time.sleep(0.5)  # into the middle of the call
        assert parent.poll() is None
        parent.send_signal(how)
        _, errors = parent.communicate(timeout=10.0)
        assert parent.returncode != 0
        assert (b"KeyboardInterrupt" in errors) == (how is signal.SIGINT)
        assert gone(workers)
    finally:
        parent.kill()
        parent.communicate()
