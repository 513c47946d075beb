"""Rules over named figures, and what becomes of them: pending, firing, cleared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.measures import MEASURES, PROCESS

Direction = Literal["above", "below"]
Severity = Literal["info", "warning", "critical"]
State = Literal["pending", "firing", "cleared"]


@dataclass(frozen=True)
class Rule:
    """Fires when a measure stays beyond `threshold` for `for_s` seconds; clears once it is back at `clear`.

    `clear` is the threshold unless given: on its other side, so that a value that sways around the threshold
    does not fire again and again. `agent` limits a rule to one agent; without it every agent has its own
    alert. Raises ConfigError, which names the rule and the value, for anything that could never work.
    """

    name: str
    measure: str
    threshold: float
    direction: Direction = "above"
    for_s: float = 0.0
    clear: float | None = None
    severity: Severity = "warning"
    agent: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigError(f"an alert rule needs a name, got {self.name!r}")
        where = f"alert rule {self.name!r}"
        if not isinstance(self.measure, str) or self.measure not in MEASURES:
            raise ConfigError(
                f"{where}: there is no measure {self.measure!r}; there are {', '.join(MEASURES)}"
            )
        if not self.name.isprintable():
            raise ConfigError(f"{where}: a name is one printable line")
        self._check_numbers(where)
        for field, choices in (("direction", Direction), ("severity", Severity)):
            if getattr(self, field) not in get_args(choices):
                raise ConfigError(
                    f"{where}: {field} {getattr(self, field)!r} is not one of {', '.join(get_args(choices))}"
                )
        if self.clear is not None and self.beyond(self.clear):
            side = "above" if self.direction == "above" else "below"
            raise ConfigError(
                f"{where}: it fires {side} {self.threshold:g}, so clear must not be {side} that; got "
                f"{self.clear:g}"
            )
        if self.agent is not None and not (isinstance(self.agent, str) and self.agent):
            raise ConfigError(f"{where}: agent must be the name of one, got {self.agent!r}")
        if self.agent is not None and MEASURES[self.measure].of_agent is None:
            raise ConfigError(
                f"{where}: {self.measure!r} is a measure of the process, and has no agent; leave "
                f"agent={self.agent!r} out"
            )

    def _check_numbers(self, where: str) -> None:
        for name in ("threshold", "for_s", "clear"):
            value: Any = getattr(self, name)
            if name == "clear" and value is None:
                continue
            if not _is_number(value) or not abs(value) <= sys.float_info.max:  # a whole number may be more
                raise ConfigError(f"{where}: {name} must be a finite number, got {value!r}")
        if self.for_s < 0:
            raise ConfigError(f"{where}: for_s must be finite and not negative, got {self.for_s}")

    def beyond(self, value: float) -> bool:
        """Whether a value is on the wrong side of the threshold."""
        return value > self.threshold if self.direction == "above" else value < self.threshold

    def back(self, value: float) -> bool:
        """Whether a value ends a firing alert."""
        level = self.threshold if self.clear is None else self.clear
        return value <= level if self.direction == "above" else value >= level

    def concerns(self, agent: str) -> bool:
        """Whether the rule is about this agent, or this is the process and so is the rule."""
        if agent == PROCESS or MEASURES[self.measure].of_agent is None:
            return agent == PROCESS and MEASURES[self.measure].of_agent is None
        return self.agent is None or self.agent == agent


@dataclass(frozen=True)
class Alert:
    """One rule for one agent (empty: the process) at one moment.

    `since` is when the value passed the threshold, `at` when the state was entered, both in seconds since
    1970; `value` is the one that led to it, None where what the alert was about is served no longer.
    """

    rule: Rule
    agent: str
    state: State
    value: float | None
    since: float
    at: float

    def __str__(self) -> str:
        measure = MEASURES[self.rule.measure]
        said = "no longer served" if self.value is None else f"{measure.name} {self.value:.6g} {measure.unit}"
        return (
            f"alert {self.rule.name} {self.state} for {self.agent or 'the process'}: {said}, the limit is "
            f"{self.rule.direction} {self.rule.threshold:g} for {self.rule.for_s:g} s"
        )


class Alerts:
    """Follows every rule for every agent. Not thread-safe: its monitor calls it from one thread.

    A figure that cannot be told proves nothing: a pending alert is dropped, a firing one stays. Raises
    ConfigError for two rules of one name.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        names = [rule.name for rule in self._rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two alert rules are named {twice[0]!r}; name them differently")
        self._standing: dict[tuple[str, str], Alert] = {}
        self._begun: dict[tuple[str, str], float] = {}

    def judge(
        self, wall: float, figures: Mapping[str, Mapping[str, float]], at: float | None = None
    ) -> tuple[Alert, ...]:
        """What fires or clears by the figures of one look, by agent and by name.

        `wall` is in seconds since 1970 and stands in the alerts. How long a value has been beyond its
        threshold is counted by `at`, in seconds of a clock that nobody sets (without it, by `wall`).
        """
        at = wall if at is None else at
        news: list[Alert] = []
        for rule in self._rules:
            for agent, told in figures.items():
                if rule.concerns(agent):
                    self._follow(rule, agent, told.get(rule.measure), (at, wall), news.append)
        for key, alert in list(self._standing.items()):
            if alert.agent not in figures:
                del self._standing[key]
                if alert.state == "firing":
                    news.append(Alert(alert.rule, alert.agent, "cleared", None, alert.since, wall))
        return tuple(news)

    def standing(self) -> tuple[Alert, ...]:
        """Those that are pending or firing."""
        return tuple(self._standing.values())

    def _follow(
        self,
        rule: Rule,
        agent: str,
        value: float | None,
        now: tuple[float, float],
        tell: Callable[[Alert], None],
    ) -> None:
        at, wall = now
        key = (rule.name, agent)
        alert = self._standing.get(key)
        if alert is not None and alert.state == "firing":
            if value is not None and rule.back(value):
                del self._standing[key]
                tell(Alert(rule, agent, "cleared", value, alert.since, wall))
            return
        if value is None or not rule.beyond(value):
            self._standing.pop(key, None)
            return
        since = wall if alert is None else alert.since
        begun = self._begun[key] = at if alert is None else self._begun[key]
        if at - begun >= rule.for_s:
            self._standing[key] = Alert(rule, agent, "firing", value, since, wall)
            tell(self._standing[key])
        else:
            self._standing[key] = Alert(rule, agent, "pending", value, since, since)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)
