"""Measuring in several interpreters at once: here the same Python, which sees a copy of grandopt."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter, interpreter
from grandopt.measurement.measure import measure
from grandopt.measurement.process.pool import WorkerPool
from grandopt.measurement.process.remote import RemoteExecutor
from grandopt.measurement.settings import MeasurementSettings
from tests.fakes_measurement import LOADER, RESULT, SIGNATURE, ring, subject

QUICK = MeasurementSettings(window_ms=1.0, rounds=9, max_seconds=1.0, processes=2)


@pytest.fixture(scope="module")
def other() -> Iterator[Interpreter]:
    with interpreter(Path(sys.executable), ["numpy", "no-such-library"]) as found:
        # The fakes come from the tests, which another interpreter does not see.
        shutil.copytree(Path(__file__).parents[1], found.library / "tests")
        yield found


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, loader=LOADER, grace_s=30.0) as workers:
        yield workers


def script(folder: Path, body: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_it_knows_its_versions_and_sees_only_a_copy_of_grandopt(other: Interpreter) -> None:
    assert other.versions == {"python": sys.version.split()[0], "numpy": np.__version__}
    assert (other.library / "grandopt" / "measurement" / "worker" / "main.py").is_file()


def test_subjects_of_two_interpreters_play_the_same_rounds(
    tmp_path: Path, pool: WorkerPool, other: Interpreter
) -> None:
    here = subject(tmp_path, "here", "spin", us=100)
    there = replace(subject(tmp_path, "there", "spin", us=200), interpreter=other)
    also = subject(tmp_path, "also", "spin", us=200)
    found = measure([there, here, also], ring(), QUICK, pool)

    assert [item.label for item in found.subjects] == ["there", "here", "also"]
    counts = {len(process.call_ns) for item in found.subjects for process in item.processes}
    assert len(counts) == 1
    assert 1.6 < found.ratio("there", "here").value < 2.4
    assert 0.8 < found.ratio("there", "also").value < 1.25


def test_an_error_there_names_the_interpreter(tmp_path: Path, pool: WorkerPool, other: Interpreter) -> None:
    here = subject(tmp_path, "here", "instant")
    there = replace(subject(tmp_path, "there", "refused"), interpreter=other)
    with pytest.raises(MeasurementError, match=r"python[^ ]*: there: its digest does not fit$"):
        measure([here, there], ring(), QUICK, pool)
    assert measure([here], ring(), QUICK, pool).summary("here").samples > 0


def test_an_interpreter_that_does_not_keep_the_protocol_is_one_clear_line(
    tmp_path: Path, pool: WorkerPool, other: Interpreter
) -> None:
    odd = replace(other, executable=script(tmp_path, "read line; echo hello; read line"))
    subjects = [subject(tmp_path, "here", "instant")]
    subjects.append(replace(subject(tmp_path, "there", "instant"), interpreter=odd))
    with pytest.raises(MeasurementError, match=r"did not answer in JSON: b'hello.n'$") as caught:
        measure(subjects, ring(), QUICK, pool)
    assert "\n" not in str(caught.value)
    assert str(odd.executable) in str(caught.value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("echo oh no >&2; exit 3", r"does not answer like a Python interpreter: oh no"),
        ("exit 3", r"does not answer like a Python interpreter: exit code 3"),
        ("""echo '{"python": "3.9.1", "numpy": "1"}'""", r"is Python 3\.9\.1; 3\.11 or newer"),
        ("""echo '{"python": "3.12.1"}'""", r"has no numpy"),
        ("echo [1, 2]", r"does not answer like a Python interpreter"),
    ],
)
def test_what_is_no_usable_python_is_refused(tmp_path: Path, body: str, complaint: str) -> None:
    with pytest.raises(MeasurementError, match=complaint), interpreter(script(tmp_path, body)):
        pass


def test_an_interpreter_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(MeasurementError, match="cannot be started: No such file"),
        interpreter(tmp_path / "none"),
    ):
        pass


def test_a_subject_can_be_called_where_it_is_measured(tmp_path: Path, other: Interpreter) -> None:
    one = replace(subject(tmp_path, "one", "instant"), loader=LOADER, interpreter=other)
    executor = RemoteExecutor(one, SIGNATURE)
    try:
        for _ in range(2):
            np.testing.assert_array_equal(executor.run(ring())[0], RESULT[0])
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("scribbler", "writes to its inputs"),
        ("reuser", "overwrites the outputs that an earlier call returned"),
    ],
)
def test_what_the_parent_cannot_see_is_checked_there(tmp_path: Path, kind: str, complaint: str) -> None:
    executor = RemoteExecutor(replace(subject(tmp_path, "one", kind), loader=LOADER), SIGNATURE)
    try:
        with pytest.raises(MeasurementError, match=complaint):
            [executor.run(ring()) for _ in range(3)]
    finally:
        executor.close()


def test_a_subject_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="its digest does not fit"):
        RemoteExecutor(replace(subject(tmp_path, "one", "refused"), loader=LOADER), SIGNATURE)


def test_run_into_is_measured_where_it_is_asked_for(tmp_path: Path, pool: WorkerPool) -> None:
    settings = replace(QUICK, into=True)
    found = measure([subject(tmp_path, "a", "into", us=50)], ring(), settings, pool)
    assert found.summary("a").p50_us > 50  # `run` of this one takes no time
    with pytest.raises(MeasurementError, match="run_into gives another result than run"):
        measure([subject(tmp_path, "b", "into", us=1, wrong=True)], ring(), settings, pool)
