"""Alert rules, their states over any course of values, and where alerts go."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.alerts import Alert, Alerts, Rule
from grandopt.runtime.monitoring.delivery import Callbacks, Delivery, Logged
from grandopt.runtime.monitoring.measures import PROCESS
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.monitoring.sources import AgentSource
from grandopt.runtime.monitoring.webhook import document
from tests.runtime.monitoring.serving import Clock, Service, monitor

DEEP = Rule("deep", "depth", 10, for_s=3, clear=5)


class Broken(Delivery):
    def deliver(self, alert: Alert) -> None:
        raise ValueError("broken")


def follow(rule: Rule, course: list[float | None]) -> list[tuple[int, str]]:
    """What happens at which second, for a course with one value a second."""
    alerts, news = Alerts([rule]), []
    for second, value in enumerate(course):
        told = {} if value is None else {rule.measure: value}
        news += [(second, alert.state) for alert in alerts.judge(1000.0 + second, {"gate": told})]
    return news


def test_an_alert_waits_fires_and_clears() -> None:
    assert follow(DEEP, [11, 11, 11, 11, 11, 8, 11, 6, 5, 8]) == [(3, "firing"), (8, "cleared")]


@given(st.lists(st.floats(-1e8, 1e8), min_size=6, max_size=6))
def test_a_clock_that_is_set_moves_no_alert(steps: list[float]) -> None:
    alerts, wall, fired = Alerts([DEEP]), 1e9, []
    for second, step in enumerate(steps):
        wall += step
        news = alerts.judge(wall, {"gate": {"depth": 11}}, at=float(second))
        fired += [second for alert in news if alert.state == "firing"]
    assert fired == [3]


def test_a_short_excess_is_none() -> None:
    assert follow(DEEP, [11, 11, 11, 10, 11, 11, 11]) == []


def test_what_cannot_be_told_proves_nothing() -> None:
    assert follow(DEEP, [11, 11, None, 11, 11, 11]) == []
    assert follow(DEEP, [11] * 4 + [None, None, 5]) == [(3, "firing"), (6, "cleared")]


values = st.one_of(st.none(), st.sampled_from([4.0, 5.0, 6.0, 10.0, 11.0, 50.0]))


@given(st.lists(values, max_size=40), st.integers(0, 4), st.sampled_from(["above", "below"]))
def test_any_course_follows_the_rule(course: list[float | None], for_s: int, direction: str) -> None:
    """It fires where the last for_s + 1 seconds were all beyond, and clears at the level."""
    level = 5.0 if direction == "above" else 11.0
    threshold = 10.0 if direction == "above" else 6.0
    rule = Rule("any", "depth", threshold, direction, for_s=for_s, clear=level)
    firing, run, expected = False, 0, []
    for second, value in enumerate(course):
        beyond = value is not None and (value > threshold if direction == "above" else value < threshold)
        run = run + 1 if beyond else 0
        if not firing and run > for_s:
            firing = True
            expected.append((second, "firing"))
        elif firing and value is not None and (value <= level if direction == "above" else value >= level):
            firing, run = False, 0
            expected.append((second, "cleared"))
    assert follow(rule, course) == expected


def test_every_agent_has_its_own_and_one_that_is_gone_is_cleared() -> None:
    alerts = Alerts([Rule("deep", "depth", 1), Rule("full", "memory", 0.9)])
    news = alerts.judge(0.0, {"a": {"depth": 2}, "b": {"depth": 2}, PROCESS: {"memory": 0.95, "depth": 9}})
    assert {(alert.rule.name, alert.agent) for alert in news} == {
        ("deep", "a"),
        ("deep", "b"),
        ("full", PROCESS),
    }
    (gone,) = alerts.judge(1.0, {"a": {"depth": 2}, PROCESS: {"memory": 0.95}})
    assert (gone.agent, gone.state, gone.value) == ("b", "cleared", None)
    assert "no longer served" in str(gone)
    assert len(alerts.standing()) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"measure": "speed"}, "there is no measure 'speed'"),
        ({"direction": "over"}, "direction 'over' is not one of above, below"),
        ({"severity": "bad"}, "severity 'bad' is not one of"),
        ({"threshold": math.nan}, "threshold must be a finite number, got nan"),
        ({"for_s": -1}, "for_s must be finite and not negative, got -1"),
        ({"clear": 11}, "it fires above 10, so clear must not be above that; got 11"),
        ({"measure": "memory", "agent": "gate"}, "is a measure of the process"),
        ({"name": " "}, "an alert rule needs a name"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Rule(**{"name": "deep", "measure": "depth", "threshold": 10, **fields})


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two alert rules are named 'deep'"):
        Alerts([DEEP, DEEP])


class Received(Delivery):
    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def deliver(self, alert: Alert) -> None:
        self.alerts.append(alert)


def test_a_callback_that_raises_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(alert: Alert) -> None:
        raise OSError("no")

    seen: list[Alert] = []
    received, clock, service = Received(), Clock(), Service()
    watch = monitor(
        clock,
        MonitorSettings(),
        rules=[Rule("deep", "depth", 1, severity="critical")],
        deliveries=[Callbacks(broken, seen.append), Logged(), received],
    )
    watch.watch(AgentSource("gate", service.stats))
    service.counts["depth"] = 5
    with caplog.at_level(logging.INFO):
        watch.look()
        watch.look()
        service.counts["depth"] = 0
        watch.look()
    assert [alert.state for alert in received.alerts] == ["firing", "cleared"]
    assert seen == received.alerts
    assert watch.stats().alerts == ()
    levels = [record.levelno for record in caplog.records if record.name == "grandopt.alerts"]
    assert levels == [logging.CRITICAL, logging.INFO]
    assert "alert deep firing for gate: depth 5 rows, the limit is above 1 for 0 s" in caplog.text
    assert caplog.text.count("a callback failed") == 2


def test_a_delivery_that_raises_ends_neither_the_looks_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Alert] = []
    watching = Monitor(rules=[Rule("any", "resident", 1)], deliveries=[Broken(), Callbacks(heard.append)])
    watching.look()
    watching.look()
    assert [alert.rule.name for alert in heard] == ["any"]
    assert "Broken failed on an alert (alert any firing for the process" in caplog.text


async def asynchronous(alert: Alert) -> None:
    """Nobody would await it."""


class Asynchronous:
    async def __call__(self, alert: Alert) -> None:
        """Nor this."""


@pytest.mark.parametrize("callback", [asynchronous, Asynchronous(), None, "print"])
def test_what_no_thread_can_call_is_no_callback(callback: object) -> None:
    with pytest.raises(ConfigError, match="a callback is a"):
        Callbacks(callback)  # type: ignore[arg-type]


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=2), st.binary(max_size=3),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([field.name for field in fields(Rule)]), anything))
def test_any_rule_works_or_is_refused(given_: dict[str, Any]) -> None:
    try:
        rule = Rule(**{"name": "any", "measure": "depth", "threshold": 1.0} | given_)
    except ConfigError:
        return
    alerts = Alerts([rule])
    for second, depth in enumerate((0.0, 1e9, 1e9, -1e9)):
        for alert in alerts.judge(float(second), {"gate": {"depth": depth}}):
            json.dumps(document(alert), allow_nan=False)
