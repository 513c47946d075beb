"""All ways of serving an agent in interleaved rounds, each time in a fresh process, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grandopt.config.external_engines import install
from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.statistics import percentile, ratio_interval, ratio_of_rounds, too_few
from grandopt.measurement.wire.codec import AnswerT, Request
from grandopt.signature import Array
from grandopt.suites.serving.contenders import Rival
from grandopt.suites.serving.result import Callers, Contestant
from grandopt.suites.serving.wire import Loop, Loops, ServedAgent, ServeLoops

WORKER = "grandopt.suites.serving.worker.main"
TRIAL_S = 0.25
_STARTING_S = 240.0
"""Ray needs most of it, on a busy machine."""

Tell = Callable[[str], None]


@dataclass
class Standing:
    """One way of serving while the rounds go on."""

    rival: Rival
    reason: str | None = None
    setting: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    answers: list[Loops] = field(default_factory=list)
    times: dict[int, list[Array]] = field(default_factory=dict)

    def rounds(self, callers: int) -> list[Loop]:
        """The loop with so many callers of each round."""
        return [loop for one in self.answers for loop in one.loops if loop.callers == callers]


def asked(
    request: Request[AnswerT], timeout_s: float = _STARTING_S, interpreter: Interpreter | None = None
) -> AnswerT:
    """The answer of a fresh worker; raises MeasurementError when it refuses or fails."""
    with closing(WorkerProcess(1, WORKER, interpreter)) as worker:
        return worker.ask(request, timeout_s)


def raced(
    agent: ServedAgent,
    rivals: Sequence[Rival],
    callers: Sequence[int],
    seconds: float,
    rounds: int,
    folder: Path,
    interpreters: Mapping[str, Interpreter],
    tell: Tell,
) -> list[Standing]:
    """Every way of serving in every round that is its own, in the opposite order in every other one.

    What has no environment, refuses or fails has its reason, and takes no further part.
    """
    found = [Standing(rival) for rival in rivals]
    for one in found:
        name = one.rival.environment
        if name is not None and name not in interpreters:
            one.reason = install(name)
        elif name is not None:
            one.versions = dict(interpreters[name].versions)
    for number in range(rounds):
        for one in found if number % 2 == 0 else found[::-1]:
            if one.reason is None and number < (one.rival.rounds or rounds):
                tell(f"{agent.name}: {one.rival.name}, round {number + 1} of {rounds}")
                _serve(one, agent, callers, seconds, folder, interpreters)
    return found


def _serve(
    one: Standing,
    agent: ServedAgent,
    callers: Sequence[int],
    seconds: float,
    folder: Path,
    interpreters: Mapping[str, Interpreter],
) -> None:
    trial = min(TRIAL_S, seconds) * one.rival.trials
    request = ServeLoops(one.rival.name, agent, tuple(callers), seconds, trial, one.setting, folder)
    interpreter = interpreters.get(one.rival.environment or "")
    try:
        answer = asked(request, _STARTING_S + 4 * len(callers) * seconds, interpreter)
    except MeasurementError as error:
        one.reason = str(error)
        return
    one.setting = answer.setting
    one.answers.append(answer)
    for loop in answer.loops:
        one.times.setdefault(loop.callers, []).append(np.load(loop.times))


def contestant(one: Standing, agent: ServedAgent) -> Contestant:
    """The figures of all rounds of one way of serving."""
    counts = dict.fromkeys(loop.callers for answer in one.answers for loop in answer.loops)
    return Contestant(
        name=one.rival.name,
        agent=agent.name,
        setting=one.setting or "",
        callers=tuple(_figures(one, callers) for callers in counts),
        deviation=max((answer.deviation for answer in one.answers), default=None),
        notes=one.answers[-1].notes if one.answers else (),
        versions=one.versions,
        reason=one.reason,
    )


def _figures(one: Standing, callers: int) -> Callers:
    loops = one.rounds(callers)
    rates = tuple(loop.answered / loop.seconds for loop in loops)
    every = np.concatenate(one.times[callers])
    return Callers(
        callers=callers,
        rate=float(np.median(rates)),
        rates=rates,
        p50_s=_percentile(every, 50.0),
        p99_s=_percentile(every, 99.0),
        samples=int(every.size),
        fewest=min(loop.fewest for loop in loops),
        even=float(np.median([loop.answered / callers for loop in loops])),
    )


def _percentile(nanoseconds: Array, percent: float) -> float | None:
    return None if too_few(nanoseconds.size, percent) else percentile(nanoseconds, percent) / 1e9


def times_as_fast(mine: Standing, other: Standing, callers: int) -> tuple[float, float, float] | None:
    """How many times as many answers mine gives so many callers: the paired ratio and its 95 % interval; None
    where one has no figures."""
    ours, theirs = mine.rounds(callers), other.rounds(callers)
    both = min(len(ours), len(theirs))
    if both == 0:
        return None
    pairs = [_same_length(a.tenths, b.tenths) for a, b in zip(theirs[:both], ours[:both], strict=True)]
    base, fast = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return ratio_of_rounds(base, fast), *ratio_interval(base, fast, seed=0)


def _same_length(base: Sequence[float], fast: Sequence[float]) -> tuple[Array, Array]:
    """Both in tenths; where one has only a whole, the other's mean stands beside it."""
    if len(base) == len(fast):
        return np.array(base), np.array(fast)
    return tuple(np.array([1.0 / float(np.mean(1.0 / np.array(one)))]) for one in (base, fast))  # type: ignore[return-value]
