"""What a monitor makes of the counters of its parts."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from grandopt.errors import ConfigError
from grandopt.runtime.monitoring.measures import MEASURES, PROCESS, values
from grandopt.runtime.monitoring.monitor import PAUSE_S, Monitor, MonitorSettings
from grandopt.runtime.monitoring.sources import AgentSource
from tests.runtime.monitoring.serving import Clock, Service, monitor


def test_differences_give_rates() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock)
    watch.watch(AgentSource("gate", service.stats))
    service.serve(5_000)
    first = watch.look().agents["gate"]
    assert first.recent is None
    assert first.total.answered == 5_000
    clock.now += 2
    service.serve(1_000, ns=50_000, rows=4)
    service.counts["missed"] += 10
    service.rejected["rows"] += 30
    agent = watch.look().agents["gate"]
    told = values(watch.look())["gate"]
    assert agent.recent is not None
    assert agent.recent.answered == 1_000
    assert agent.recent.rows == {4: 250}
    assert agent.recent.rejected == {"rows": 30}
    assert told["rate"] == pytest.approx(500)
    assert told["p99"] == pytest.approx(50e-6, rel=1 / 16)
    assert told["requests_per_batch"] == 4
    assert told["rejected"] == pytest.approx(30 / 1_040)
    assert told["missed"] == pytest.approx(10 / 1_040)
    assert told["busy"] == pytest.approx(250 * 50e-6 / 2)


def test_a_percentile_that_cannot_be_told_says_why() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock)
    watch.watch(AgentSource("gate", service.stats))
    watch.look()
    clock.now += 1
    service.serve(100)
    latency = watch.look().agents["gate"].latency
    assert latency.p90_s == pytest.approx(20e-6, rel=1 / 16)
    assert (latency.p99_s, latency.p999_s) == (None, None)
    assert latency.missing == {"p99": "needs 662 samples, has 100", "p99.9": "needs 6636 samples, has 100"}


def test_the_window_moves_and_its_memory_does_not_grow() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock, MonitorSettings(interval_s=1, window_s=10))
    watch.watch(AgentSource("gate", service.stats))
    for second in range(50):
        service.serve(100 * second)
        metrics = watch.look()
        clock.now += 1
    agent = metrics.agents["gate"]
    assert agent.window_s == 10
    assert agent.recent is not None
    assert agent.recent.answered == sum(100 * second for second in range(40, 50))
    assert len(watch._watched["gate"]._window) <= 12


def test_a_part_that_begins_again_is_not_negative() -> None:
    clock, services = Clock(), [Service()]
    watch = monitor(clock)
    watch.watch(AgentSource("gate", lambda: services[0].stats()))
    services[0].serve(1_000)
    watch.look()
    services[0] = Service()
    services[0].serve(10)
    clock.now += 1
    agent = watch.look().agents["gate"]
    assert agent.recent is None
    assert agent.total.answered == 10


def test_the_process_is_told_and_what_is_not_there_is_not() -> None:
    clock = Clock()
    watch = monitor(clock)
    watch.look()
    clock.now += 4
    metrics = watch.look()
    told = values(metrics)[PROCESS]
    assert told["cores"] == pytest.approx(0.5)
    assert told["resident"] == 100_000_000
    assert 0 < told["memory"] < 1
    assert metrics.process.gpus == ()
    assert not {"gpu", "gpu_memory"} & set(told)


def test_history_is_bounded_and_forgets_who_is_gone() -> None:
    clock, service = Clock(), Service()
    watch = monitor(clock, MonitorSettings(keep=5))
    watch.watch(AgentSource("gate", service.stats))
    for second in range(12):
        service.counts["depth"] = second
        watch.look()
        clock.now += 1
    series = watch.history.series("gate", "depth")
    np.testing.assert_array_equal(series.values, [7, 8, 9, 10, 11])
    np.testing.assert_array_equal(series.times, 1000.0 + series.values)
    watch.forget("gate")
    watch.look()
    assert watch.history.series("gate", "depth").values.size == 0
    with pytest.raises(ConfigError, match="there is no measure 'speed'"):
        watch.history.series("gate", "speed")


def test_every_measure_is_of_one_kind() -> None:
    for measure in MEASURES.values():
        assert (measure.of_agent is None) != (measure.of_process is None)


def test_a_thread_looks_every_interval() -> None:
    service = Service()
    watch = Monitor(MonitorSettings(interval_s=0.01, window_s=0.1))
    watch.watch(AgentSource("gate", service.stats))
    with watch.watching():
        until = time.monotonic() + 5
        while watch.stats().looks < 3 and time.monotonic() < until:
            service.serve(1)
            time.sleep(0.005)
    stats = watch.stats()
    assert stats.looks >= 3
    assert stats.look_ns > 0
    assert stats.last is not None
    assert stats.last.process.resident is not None


@pytest.mark.parametrize(
    "settings", [{"interval_s": 0}, {"window_s": 0.1}, {"keep": 0}, {"interval_s": 0.001}]
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="monitoring:"):
        MonitorSettings(**settings)


def test_a_look_in_pieces_finds_the_same_and_rests_between_them() -> None:
    rests: list[float] = []
    clock, service = Clock(), Service()
    watches = [monitor(clock), monitor(clock, rest=rests.append)]
    for watch in watches:
        watch.watch(AgentSource("gate", service.stats))
    for second in range(3):
        service.serve(1_000 * second, rows=4)
        whole, pieces = watches[0].look(), watches[1].look_in_pieces()
        assert values(whole) == values(pieces)
        clock.now += 1
    assert len(rests) >= 3 * 8
    assert set(rests) == {PAUSE_S}
    for measure in ("rate", "p50", "busy"):
        one, other = (watch.history.series("gate", measure).values for watch in watches)
        np.testing.assert_array_equal(one, other)


def test_an_agent_that_is_forgotten_during_a_look_is_not_in_it() -> None:
    clock, service = Clock(), Service()
    watch: Monitor = monitor(clock, rest=lambda seconds: watch.forget("gate"))
    watch.watch(AgentSource("gate", service.stats))
    assert watch.look_in_pieces().agents == {}
    assert watch.history.series("gate", "depth").values.size == 0


def test_whoever_wants_to_look_does_not_wait_for_the_rests_of_another() -> None:
    looked: list[threading.Thread] = []
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if not looked:
            looked.append(threading.Thread(target=watch.look))
            looked[0].start()
        time.sleep(0.02)

    clock, service = Clock(), Service()
    watch = monitor(clock, rest=rest)
    watch.watch(AgentSource("gate", service.stats))
    watch.look_in_pieces()
    looked[0].join()
    assert 1 <= len(rests) < 8
    assert watch.stats().looks == 2
