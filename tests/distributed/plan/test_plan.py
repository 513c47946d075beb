"""Plans for replicas whose cost is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from grandopt.cli.render.plan import impossible_words, plan_document, plan_tables
from grandopt.distributed.plan.capacity import by_formula, by_simulation
from grandopt.distributed.plan.pace import Pace
from grandopt.distributed.plan.plan import Demand, Impossible, Plan, make_plan, with_best_limit
from grandopt.distributed.plan.recorded import replicas_for, scaled
from grandopt.errors import ConfigError
from tests.distributed.plan.replicas import inline, threads


def planned(demand: Demand, replica: object) -> Plan:
    found = make_plan(demand, replica)
    assert isinstance(found, Plan)
    return found


def test_replicas_and_machines_of_a_load() -> None:
    replica = inline()
    plan = planned(Demand(qps=1e5, p99_ms=20.0, cores=3), replica)
    assert plan.replicas == int(np.ceil(1e5 / plan.capacity)) == 5
    assert (plan.per_machine, plan.machines, plan.met) == (3, 2, True)
    assert plan.capacity == pytest.approx(plan.capacity_formula, rel=0.05)
    assert plan.p99_us.low <= plan.p99_us.value <= plan.p99_us.high < 20_000
    assert plan.p50_us.value == pytest.approx(plan.p50_formula_us, rel=0.1)
    assert plan.headroom == pytest.approx(5 * plan.capacity / 1e5 - 1)
    assert plan.remarks == ()


def test_a_tighter_limit_takes_more() -> None:
    rates = [by_simulation(inline(40_000.0, 1e6), limit) for limit in (3e6, 1e7, 1e9)]
    assert rates[0] < 0.8 * rates[1] < rates[2]
    formulas = [by_formula(inline(40_000.0, 1e6), limit) for limit in (3e6, 1e7, 1e9)]
    assert formulas == pytest.approx(rates, rel=0.1)


def test_a_limit_below_one_answer_cannot_be_met() -> None:
    found = make_plan(Demand(qps=1e2, p99_ms=0.05, cores=2), inline())
    assert isinstance(found, Impossible)
    assert found.least_p99_ms == pytest.approx(0.145, rel=0.3)
    assert "no number of replicas answers 99 % within 50.0 µs" in impossible_words(found)
    assert plan_document(found)["met"] is False


def test_too_few_machines_are_said_to_be() -> None:
    plan = planned(Demand(qps=1e5, p99_ms=20.0, cores=1, machines=2), inline())
    assert not plan.met
    assert "5 machines are needed and 2 are there" in plan.remarks[-1]


def test_a_machine_smaller_than_a_replica_is_refused() -> None:
    with pytest.raises(ConfigError, match="keeps 2 cores busy, and a machine would have 1"):
        make_plan(Demand(qps=100.0, p99_ms=20.0, cores=1), threads(workers=2))


def test_several_workers_are_near_the_formula() -> None:
    replica = threads(workers=2)
    rates = by_simulation(replica, 2e7), by_formula(replica, 2e7)
    assert rates[0] == pytest.approx(rates[1], rel=0.1)


def test_a_smaller_batch_limit_is_chosen_where_it_carries_as_much() -> None:
    flat = threads(workers=1, limit=16, each_ns=100_000.0, fixed_ns=10.0)
    assert with_best_limit(flat, 5e6).limit == 1
    steep = threads(workers=1, limit=16, each_ns=10_000.0, fixed_ns=1_000_000.0)
    assert with_best_limit(steep, 1e7).limit == 16


def test_the_transport_is_added_to_each_request() -> None:
    bare = planned(Demand(qps=1e4, p99_ms=20.0, cores=1), inline())
    over_http = planned(Demand(qps=1e4, p99_ms=20.0, cores=1), inline().with_transport(40_000.0))
    assert over_http.capacity == pytest.approx(bare.capacity / 2, rel=0.1)


def test_recorded_arrivals_in_bursts_take_more_than_their_rate_says() -> None:
    due = np.repeat(np.arange(200) * 100_000_000, 1000).astype(np.int64)  # 1000 at once, each 100 ms
    arrivals, rate = scaled(due, None)
    assert rate == pytest.approx(1e4, rel=0.01)
    plan = planned(Demand(rate, 10.0, 8, due_ns=arrivals), inline())
    assert plan.needed < 1
    assert plan.replicas > 4
    assert plan.capacity_formula is None
    assert plan.p99_us.value < 10_000


def test_a_trace_can_be_played_at_another_rate() -> None:
    arrivals, rate = scaled((np.arange(1000) * 1_000_000).astype(np.int64), 2000.0)
    assert rate == 2000.0
    assert arrivals[-1] == pytest.approx(999 * 500_000)


def test_arrivals_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs 662 samples"):
        scaled(np.arange(10), None)
    with pytest.raises(ConfigError, match="all come at once"):
        scaled(np.zeros(1000, dtype=np.int64), None)


def test_a_trace_that_no_number_of_replicas_answers() -> None:
    due = np.arange(1000) * 1_000.0
    assert replicas_for(inline(), due, 50_000.0, 1, 0) is None


def test_what_is_counted_and_what_differs_is_told() -> None:
    plan = planned(Demand(qps=1e4, p99_ms=20.0, cores=2, deadline_ms=0.2), inline())
    said = "\n".join(str(part) for part in plan_tables(plan))
    assert "transport not counted" in said
    assert "would miss 200 µs" in said
    document = json.loads(json.dumps(plan_document(plan)))
    assert document["replica"]["pace"]["speed"] == 1.0
    assert document["replica"]["per_request_ns"] == pytest.approx(40_000, rel=0.01)
    assert document["p99_us"]["low"] <= document["p99_us"]["value"]
    assert document["met"] is True


def test_a_machine_that_does_something_else_is_said_to_be_busy() -> None:
    pace = Pace(np.tile([1e7, 3e6], 100), np.tile([1e7, 1.0], 100))
    plan = planned(Demand(qps=1e3, p99_ms=50.0, cores=1), inline(pace=pace))
    assert "this machine went at 77 % of its typical speed on average" in plan.remarks[0]
