"""Requests and answers on the wire: what is written is read again, and what does not fit is said."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement import wire
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.wire.arrays import load_outputs
from grandopt.measurement.wire.codec import (
    Done,
    RefusedRequest,
    Request,
    answer_line,
    asked,
    read_answer,
    request_line,
)
from grandopt.measurement.wire.cold import ColdTimes, StartCold
from grandopt.measurement.wire.curve import CurvePoints, MeasureCurve, MeasuredBatch, SubjectPoints
from grandopt.measurement.wire.instructions import CountCalls
from grandopt.measurement.wire.kernels import KernelLibrary, KernelSpeeds, MeasureKernels, Peak, ReadSpeed
from grandopt.measurement.wire.limit import MachineSpeeds, MeasureSpeeds
from grandopt.measurement.wire.loadable import Loadable
from grandopt.measurement.wire.measure import Measure, PlayRound, SubjectTimings, Timings
from grandopt.measurement.wire.operators import OperatorTimes, ProfileOperators
from grandopt.measurement.wire.pair import ComparePair, PairTimes
from grandopt.measurement.wire.serving import CalibratePool
from grandopt.measurement.wire.warmth import MeasureWarmth, WarmthFound, WarmthTimes
from grandopt.measurement.worker import main
from grandopt.measurement.worker.pipe import reply
from grandopt.runtime.executors.operators import OperatorTime
from grandopt.runtime.memory.break_even import PoolBreakEven, SizeTime

ONE = Loadable("one", Path("/artifacts/one"), False, "module:load")
RING = (Path("/tmp/input-0.npy"), Path("/tmp/input-1.npy"))
MEASURE = Measure((ONE, ONE), RING, MeasurementSettings.quick(into=True), Path("/tmp"), "0:1")
TIMED = SubjectTimings(Path("calls.npy"), Path("blocks.npy"), 1, 2, 3, None, 4, 5)
PAIR = ComparePair((ONE, ONE, ONE), RING, 1, 0.1, 1 << 63, True)
COLD = StartCold(ONE, RING, 1)
EXCHANGES: list[tuple[Request[Any], Any]] = [
    (MEASURE, Timings(23.5, (TIMED, replace(TIMED, calls_to_stable=51)))),
    (PlayRound(), Done()),
    (
        MeasureCurve((ONE,), RING, (1, 2), 1, 0.5),
        CurvePoints((SubjectPoints((MeasuredBatch(1, 1.0, 2.0, 8, True),), "no time"),)),
    ),
    (
        MeasureWarmth((ONE,), RING, 1, 1 << 22, 3, 0.25),
        WarmthFound((WarmthTimes((1.0, 2.0, 1.5), (3.0, 3.5, 3.0), 300, 9),)),
    ),
    (ProfileOperators(ONE, RING, 1, 2.0), OperatorTimes(1e3, (OperatorTime("addmm", None, 1.0, 2.0),), None)),
    (PAIR, PairTimes(((1.0, 2.0, 3.0),), 7, (1.0, None, 2.0), 7)),
    (COLD, ColdTimes(1, 2, 3)),
    (MeasureSpeeds((16384,)), MachineSpeeds(((16384, 80.5),), 100.0)),
    (CountCalls(ONE, RING, 1, 256, (Path("control"), Path("reply"))), Done()),
    (CountCalls(ONE, RING, 1, 256, None), Done()),
    (
        MeasureKernels((KernelLibrary("x86-64-v3", Path("speeds.so"), True),), (16384,)),
        KernelSpeeds((Peak("int8", "x86-64-v3", 200.0),), (ReadSpeed(16384, "x86-64-v3", 90.5),)),
    ),
    (
        CalibratePool("buffer", (64,), 4, 9, 0.5),
        PoolBreakEven(None, "not faster", (SizeTime(64, 1.0, 2.0),)),
    ),
]


@pytest.mark.parametrize(("request_", "answer"), EXCHANGES, ids=lambda item: type(item).__name__)
def test_what_is_written_is_read_again(request_: Request[Any], answer: Any) -> None:
    line = request_line(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["kind"] == request_.kind
    assert asked(line).read(type(request_)) == request_
    assert read_answer(request_, answer_line(answer)) == answer


def test_every_kind_has_its_own_name() -> None:
    for module in Path(wire.__path__[0]).glob("*.py"):
        importlib.import_module(f"{wire.__name__}.{module.stem}")
    kinds = [kind for kind in Request.__subclasses__() if kind.__module__.startswith(wire.__name__)]
    assert len({kind.kind for kind in kinds}) == len(kinds) == 18


def test_a_whole_number_is_a_time_and_reads_as_one() -> None:
    found = read_answer(MeasureSpeeds((1,)), b'{"speeds": [[1, 80]], "peak_gflop_s": 100}')
    assert isinstance(found, MachineSpeeds)
    assert isinstance(found.peak_gflop_s, float)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"hello\n", r"it did not answer in JSON: b'hello.n'"),
        (b"[1, 2]\n", r"it did not answer with a JSON object: b'\[1, 2\].n'"),
        (b"{}", "load_ns is missing"),
        (b'{"load_ns": 1, "first_call_ns": 2, "resident_bytes": 3, "more": 4}', "more is not known"),
        (b'{"load_ns": "1", "first_call_ns": 2, "resident_bytes": 3}', "load_ns is '1' instead of int"),
        (b'{"load_ns": true, "first_call_ns": 2, "resident_bytes": 3}', "load_ns is True instead of int"),
        (b'{"load_ns": 1.5, "first_call_ns": 2, "resident_bytes": 3}', "load_ns is 1.5 instead of int"),
    ],
)
def test_an_answer_that_does_not_fit_says_where(line: bytes, problem: str) -> None:
    with pytest.raises(MeasurementError, match=f"^the worker's answer to 'cold' cannot be read: {problem}$"):
        read_answer(COLD, line)


@pytest.mark.parametrize(
    ("request_", "answer", "problem"),
    [
        (MEASURE, Timings(1.0, (TIMED,)), "it is about 1 subjects instead of 2"),
        (PAIR, PairTimes(((1.0, 2.0),), 1, None, 1), "not every block is 3 times above 0"),
        (PAIR, PairTimes(((1.0, 2.0, float("nan")),), 1, None, 1), "not every block is 3 times above 0"),
        (PAIR, PairTimes((), 1, None, 1), "not every block is 3 times above 0"),
        (PAIR, PairTimes(((1.0, 2.0, 3.0),), 1, None, 1), "its tails are None"),
        (MeasureSpeeds((1,)), Timings(1.0, ()), "is not known|is missing"),
    ],
)
def test_an_answer_to_something_else_is_refused(request_: Request[Any], answer: object, problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem):
        read_answer(request_, answer_line(answer))


def test_deep_places_are_named() -> None:
    data = json.loads(answer_line(Timings(1.0, (TIMED, TIMED))))
    data["subjects"][1]["calls"] = None
    with pytest.raises(MeasurementError, match=r"subjects\[1\].calls is None instead of Path"):
        read_answer(MEASURE, json.dumps(data).encode())
    with pytest.raises(MeasurementError, match=r"speeds\[0\] holds 3 values instead of 2"):
        read_answer(MeasureSpeeds((1,)), b'{"speeds": [[1, 2, 3]], "peak_gflop_s": 1}')


def test_arrays_that_are_not_there_make_an_answer_unreadable(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="answer to 'measure' cannot be read: FileNotFoundError"):
        load_outputs(MEASURE, [tmp_path / "gone.npy"])
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(MeasurementError, match="answer to 'measure' cannot be read: ValueError"):
        load_outputs(MEASURE, [tmp_path / "objects.npy"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"kind": "dance"}', "unknown kind of job 'dance'"),
        (b'{"kind": "round", "more": 1}', "the request 'round' cannot be read: more is not known"),
        (b'{"kind": "round"}', "a round was asked for before the measurement began"),
    ],
)
def test_a_worker_says_what_it_cannot_do(line: bytes, reason: str) -> None:
    answered = reply(line, main.answer)
    assert json.loads(answered) == {"error": reason}
    assert read_answer(PlayRound(), answered) == RefusedRequest(reason)


def test_settings_that_cannot_be_are_refused_by_the_worker() -> None:
    data = json.loads(request_line(MEASURE))
    data["settings"]["rounds"] = 1
    with pytest.raises(
        MeasurementError, match=r"request 'measure' cannot be read: settings.*at least 3 but got 1"
    ):
        asked(json.dumps(data).encode()).read(Measure)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Painted:
    colour: Colour | None


@dataclass(frozen=True)
class Paint(Request[Painted], kind="paint"):
    pass


def test_a_member_of_an_enumeration_is_its_text() -> None:
    found = read_answer(Paint(), answer_line(Painted(Colour.RED)))
    assert isinstance(found, Painted)
    assert found.colour is Colour.RED
    assert read_answer(Paint(), answer_line(Painted(None))) == Painted(None)
    with pytest.raises(MeasurementError, match="colour is 'blue' instead of Colour"):
        read_answer(Paint(), b'{"colour": "blue"}')


def test_the_choice_of_memory_is_read_strictly() -> None:
    line = request_line(CalibratePool("array", (1,), 1, 1, 1.0)).replace(b"array", b"stone")
    with pytest.raises(MeasurementError, match="blocks is 'stone' instead of"):
        asked(line).read(CalibratePool)
