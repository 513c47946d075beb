"""The program of a measuring worker: `python -m grandopt.measurement.worker.main`, started by WorkerProcess.

What a kind of request needs is imported when one comes: a cold start is not charged for the others.
"""

from __future__ import annotations

import importlib

from grandopt.measurement.wire.codec import Asked, Done
from grandopt.measurement.worker.pipe import serve


def answer(asked: Asked) -> object:
    """The answer to one request, of its `answer_type`; a refusal is raised."""
    match asked.kind:
        case "prepare":
            from grandopt.measurement.wire.prepare import Prepare

            for name in asked.read(Prepare).modules:
                importlib.import_module(name)
            return Done()
        case "measure" | "begin" | "round" | "end":
            return _timed(asked)
        case "open" | "call":
            return _called(asked)
        case "curve":
            from grandopt.measurement.wire.curve import MeasureCurve
            from grandopt.measurement.worker.curve import curve

            return curve(asked.read(MeasureCurve))
        case "warmth":
            from grandopt.measurement.wire.warmth import MeasureWarmth
            from grandopt.measurement.worker.warmth import warmth

            return warmth(asked.read(MeasureWarmth))
        case "operators":
            from grandopt.measurement.wire.operators import ProfileOperators
            from grandopt.measurement.worker.operators import profile

            return profile(asked.read(ProfileOperators))
        case "pair":
            from grandopt.measurement.wire.pair import ComparePair
            from grandopt.measurement.worker.pair import pair

            return pair(asked.read(ComparePair))
        case "cold":
            from grandopt.measurement.wire.cold import StartCold
            from grandopt.measurement.worker.cold import start

            return start(asked.read(StartCold))
        case "residence":
            from grandopt.measurement.wire.residence import HoldResidence
            from grandopt.measurement.worker.residence import hold

            return hold(asked.read(HoldResidence))
        case "limit":
            from grandopt.measurement.wire.limit import MeasureSpeeds
            from grandopt.measurement.worker.limit import measured_speeds

            return measured_speeds(asked.read(MeasureSpeeds))
        case "kernels":
            from grandopt.measurement.wire.kernels import MeasureKernels
            from grandopt.measurement.worker.kernels import kernel_speeds

            return kernel_speeds(asked.read(MeasureKernels))
        case _:
            raise asked.unknown()


def _timed(asked: Asked) -> object:
    from grandopt.measurement.wire.measure import BeginRounds, EndRounds, Measure, PlayRound
    from grandopt.measurement.worker.measure import measure, rounds

    match asked.kind:
        case "measure":
            return measure(asked.read(Measure))
        case "begin":
            return rounds.begin(asked.read(BeginRounds))
        case "round":
            return rounds.play(asked.read(PlayRound))
        case _:
            return rounds.end(asked.read(EndRounds))


def _called(asked: Asked) -> object:
    from grandopt.measurement.wire.calls import CallSubject, OpenSubject
    from grandopt.measurement.worker.calls import called

    match asked.kind:
        case "open":
            return called.open(asked.read(OpenSubject))
        case _:
            return called.call(asked.read(CallSubject))


if __name__ == "__main__":
    serve(answer)
