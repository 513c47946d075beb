"""The requests of the serving suite, each with what a worker answers to it.

A worker may run in another environment: nothing here needs more than NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request


@dataclass(frozen=True)
class ServedAgent:
    """One agent as every way of serving finds it.

    `network` is the class of the original as "module:name", `weights` its state, `script` the same as frozen
    TorchScript, `artifact` what grandopt made of it. `observations` [256, *shape] rotate; `answers` holds the
    original's, an array for each output. Answers of the original's own networks are held to `exact`, those
    of the artifact to `limit` (both relative L2 errors of one observation's answer).
    """

    name: str
    network: str
    weights: Path
    script: Path
    artifact: Path
    observations: Path
    answers: Paths
    exact: float
    limit: float


@dataclass(frozen=True)
class Loop:
    """What a number of callers got, each asking anew when it was answered.

    `times` names the file of the nanoseconds of every request. `tenths` are the seconds per answer of each
    tenth of the time. `fewest` is how many answers the caller got that got the fewest.
    """

    callers: int
    answered: int
    seconds: float
    fewest: int
    tenths: tuple[float, ...]
    times: Path


@dataclass(frozen=True)
class Tried:
    """One setting that was tried before the measurement, and its answers per second."""

    setting: str
    rate: float


@dataclass(frozen=True)
class Loops:
    """The loops of one way of serving, with the setting that was the fastest of those tried.

    `deviation` is the largest relative L2 error of an answer; `notes` say what else has to be known.
    """

    setting: str
    tried: tuple[Tried, ...]
    loops: tuple[Loop, ...]
    deviation: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ServeLoops(Request[Loops], kind="serve loops"):
    """Serve an agent in the way `contender`, for `seconds` with each number of `callers`.

    Without a `setting`, all are tried for `trial_s` each with the first number of callers. Times are written
    into `folder`.
    """

    contender: str
    agent: ServedAgent
    callers: tuple[int, ...]
    seconds: float
    trial_s: float
    setting: str | None
    folder: Path


@dataclass(frozen=True)
class LoneTimes:
    """Medians in nanoseconds, one of each round: the artifact called directly, `engine.infer_now`, and a lone
    `await engine.infer`, in turns within a round. `batch` is the time of one observation of
    `engine.batch_inference` with all observations at once. `infer_all` holds all times of the third."""

    direct: tuple[float, ...]
    infer_now: tuple[float, ...]
    infer: tuple[float, ...]
    batch: tuple[float, ...]
    infer_all: Path


@dataclass(frozen=True)
class CallAlone(Request[LoneTimes], kind="call alone"):
    """Call an agent alone, in at least three rounds and for about `seconds`."""

    agent: ServedAgent
    seconds: float
    folder: Path


@dataclass(frozen=True)
class HitRate:
    """What a cache in front of an agent found of a trace; `wrong` answers differed from the agent's own."""

    requests: int
    hits: int
    distinct: int
    wrong: int


@dataclass(frozen=True)
class ReplayTrace(Request[HitRate], kind="replay trace"):
    """Ask an agent behind a cache of `entries` answers for the observations that the trace names in turn.

    `trace` is an array of numbers; each stands for an observation of its own.
    """

    agent: ServedAgent
    trace: Path
    entries: int


@dataclass(frozen=True)
class LoadgenVerdict:
    """What MLPerf LoadGen says of one run. `scheduled` and `completed` are queries per second."""

    valid: bool
    scheduled: float
    completed: float
    p99_s: float
    queries: int


@dataclass(frozen=True)
class LoadgenRun(Request[LoadgenVerdict], kind="loadgen run"):
    """One run of LoadGen's Server scenario at `rate` queries a second, of at least `seconds`, whose 99th
    percentile may be `limit_s`.

    The `way` is "torchscript", "infer_now" or "infer". LoadGen's logs go to `folder`.
    """

    way: str
    agent: ServedAgent
    rate: float
    seconds: float
    limit_s: float
    folder: Path


@dataclass(frozen=True)
class LoadPoint:
    """An open loop at one rate; times in seconds, None where there were too few for the percentile.

    `rate` is `fraction` of `saturation`: the answers a second that were sustained right before, for as long.
    `p50_s` and `p99_s` are from when requests were due. The rest is from when they were made: where the event
    loop was too busy to make them in time (`kept_up` is False) that is later. `goodput` counts answers within
    the deadline, a second. `refused` were told Overloaded or that their deadline cannot be met, `refused_*`
    is until told; `let_in` of them were not told when they came, but while they waited or were computed.
    """

    fraction: float
    saturation: float
    rate: float
    kept_up: bool
    goodput: float
    p50_s: float | None
    p99_s: float | None
    critical_p99_s: float | None
    requests: int
    refused: int
    let_in: int
    refused_p50_s: float | None
    refused_p99_s: float | None
    failed: int
    lost: int


@dataclass(frozen=True)
class SteadyRound:
    """A point below saturation, beside what it is held against, which was measured right before and after.

    `alone_p99_s` is one caller's p99. `bare_p99_s` is what threads that only call the artifact make of the
    same rate, without the engine: a tail that is there, too, is the machine's.
    """

    alone_p99_s: float | None
    point: LoadPoint
    bare_p99_s: float | None


@dataclass(frozen=True)
class UnderLoad:
    """The engine at fractions of its saturation: one of them in several rounds, as `steady`, and `points`,
    the last of which is the one above it, for longer; none where only the first was asked for.

    `batch_s` is what the largest batch takes. `grown_bytes` is how much more memory was resident in the
    second half of the last point, at most, than in its first; `deepest` is the most observations that waited
    there, of `bound` that may.
    """

    deadline_s: float
    batch_s: float
    steady: tuple[SteadyRound, ...]
    points: tuple[LoadPoint, ...]
    grown_bytes: int
    deepest: int
    bound: int


@dataclass(frozen=True)
class PutUnderLoad(Request[UnderLoad], kind="put under load"):
    """Put load on an agent by its saturation: for `seconds` at each point, `rounds` times at the one below
    it, and for `long_s` at the last. Only that below it with `steady_alone`."""

    agent: ServedAgent
    seconds: float
    rounds: int
    long_s: float
    steady_alone: bool = False
