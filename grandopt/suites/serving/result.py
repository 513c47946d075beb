"""What the serving suite found: frozen, with the raw times derived into figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grandopt.measurement.environment import Environment
from grandopt.suites.serving.wire import UnderLoad

Unit = Literal["times", "1/s", "µs", "ms", "%", "MB"]


@dataclass(frozen=True)
class Callers:
    """What a number of callers got of one way of serving, over all rounds.

    `rate` is the median of the rounds' answers per second; percentiles, in seconds, are of all requests, None
    where those were too few. The caller that got the fewest answers got `fewest`; an even share is `even`.
    """

    callers: int
    rate: float
    rates: tuple[float, ...]
    p50_s: float | None
    p99_s: float | None
    samples: int
    fewest: int
    even: float


@dataclass(frozen=True)
class Contestant:
    """One way of serving an agent: its figures, or the reason why there are none and what would give them.

    `deviation` is the largest relative L2 error of an answer from the original's. `versions` are those of
    its own environment.
    """

    name: str
    agent: str
    setting: str
    callers: tuple[Callers, ...]
    deviation: float | None
    notes: tuple[str, ...]
    versions: dict[str, str]
    reason: str | None = None

    def by(self, callers: int) -> Callers | None:
        """The figures with that many callers, where they were measured."""
        return next((one for one in self.callers if one.callers == callers), None)


@dataclass(frozen=True)
class Line:
    """A promise or a target beside what was measured; `value` is None where nothing was, for the `reason`.

    `low` and `high` are the ends of the 95 % interval, where there is one. `at_least` says in which direction
    the target lies.
    """

    group: str
    text: str
    unit: Unit
    target: float
    at_least: bool
    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the target; None without a value."""
        if self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class ServingBenchmark:
    """All of it. `under_load` and `artifacts` go by agent; `artifacts` names the engine and the precision
    that were served. `crowded` says that others wanted the processors, too."""

    lines: tuple[Line, ...]
    contestants: tuple[Contestant, ...]
    under_load: dict[str, UnderLoad]
    artifacts: dict[str, str]
    rounds: int
    seconds: float
    crowded: bool
    environment: Environment

    @property
    def missed(self) -> tuple[Line, ...]:
        """The lines whose target was missed, and those without a value."""
        return tuple(line for line in self.lines if not line.met)
