"""What a fleet's records come to."""

from __future__ import annotations

from grandopt.reporting.fleet.document import fleet_document
from grandopt.reporting.fleet.fleet import Unread, fleet
from grandopt.reporting.fleet.words import change_words, gain_words, head, shipping_cells
from tests.reporting.fleet.machines import NEW, OLD, mixed, on, records, source, three_versions
from tests.reporting.history.records import agent
from tests.reporting.samples import failed


def test_an_agent_has_a_row_for_each_kind_of_machine() -> None:
    found = fleet(mixed())
    assert [kind.cpu_model for kind in found.kinds] == ["AMD EPYC, Zen 4", "Intel Xeon, Sapphire Rapids"]
    gate = next(one for one in found.agents if one.name == "decision_gate")
    assert [shipping.agent.p50_us for shipping in gate.shippings] == [30.0, 2.0]
    assert [shipping.kind.identity for shipping in gate.shippings] == ["aa" * 32, "bb" * 32]
    embedder = next(one for one in found.agents if one.name == "embedder")
    assert [kind.cpu_model for kind in embedder.absent] == ["AMD EPYC, Zen 4"]
    assert shipping_cells(gate.shippings[0])[:3] == ("torchscript int8_dynamic", "50.0 µs", "30.0 µs")
    assert head(found) == "3 agents, 2 kinds of machine, 2 sources, 1 regression"


def test_machines_of_a_kind_are_one_kind_and_the_newest_run_counts() -> None:
    sources = [source("m1", on(OLD, 1, agent(20.0))), source("m2", on(OLD, 2, agent(21.0)))]
    found = fleet(sources)
    assert len(found.kinds) == 1
    assert found.kinds[0].places == ("m1", "m2")
    assert found.agents[0].shippings[0].agent.p50_us == 21.0


def test_a_run_that_is_told_twice_counts_once() -> None:
    once = on(OLD, 1, agent(20.0))
    assert fleet([source("report.json", once), source("history.sqlite", once)]).kinds[0].runs == 1


def test_machines_without_an_identity_are_told_apart_by_their_processor() -> None:
    sources = [source(name, on({"cpu_model": name}, 1, agent(20.0))) for name in ("one", "other")]
    found = fleet(sources)
    assert [kind.identity for kind in found.kinds] == ["", ""]
    assert [shipping.kind.cpu_model for shipping in found.agents[0].shippings] == ["one", "other"]
    assert found.changes == ()


def test_a_slower_version_is_a_regression_unless_the_original_slowed_down_as_well() -> None:
    slower = fleet([source("h", *three_versions([20.0, 30.0], [50.0, 50.0]))]).changes
    assert [change.regression for change in slower] == [True]
    assert change_words(slower[0]) == (
        "decision_gate (optimize) on AMD EPYC, Zen 4 (aaaaaaaa): grandopt 0.1.0 → 0.2.0: p50 20.0 µs → "
        "30.0 µs (+50 %; 3 and 3 runs); the original's +0 %"
    )
    machine = fleet([source("h", *three_versions([20.0, 30.0], [50.0, 75.0]))]).changes
    assert [change.regression for change in machine] == [False]


def test_a_faster_original_excuses_nothing_and_condemns_nothing() -> None:
    found = fleet([source("h", *three_versions([20.0, 20.0], [50.0, 25.0]))]).changes
    assert [change.regression for change in found] == [False]


def test_two_kinds_of_machine_make_no_regression() -> None:
    reports = [on(OLD, 1, agent(20.0)), on(NEW, 2, agent(80.0), grandopt="0.2.0")]
    assert fleet([source("h", *reports)]).changes == ()


def test_few_runs_are_a_hint() -> None:
    reports = [on(OLD, 1, agent(20.0)), on(OLD, 2, agent(30.0), grandopt="0.2.0")]
    change = fleet([source("h", *reports)]).changes[0]
    assert change.hint
    assert "a hint only" in change_words(change)


def test_what_a_kind_of_machine_would_gain() -> None:
    gains = [gain for gain in fleet(mixed()).gains if gain.machine == "aa" * 32]
    assert [gain.agent for gain in gains] == ["decision_gate", "embedder"]
    assert "was faster than its last one (1.5×)" in gain_words(gains[0])
    assert gain_words(gains[1]) == (
        "embedder: was not optimized on this kind; it was on others (2×); run `grandopt optimize` there"
    )


def test_an_agent_that_failed_here_and_gained_elsewhere() -> None:
    reports = [on(OLD, 1, failed("decision_gate")), on(NEW, 1, agent(20.0))]
    gain = fleet([source("h", *reports)]).gains[0]
    assert (gain.machine, gain.why) == ("aa" * 32, "failed here, while others gained")


def test_what_could_not_be_read_is_in_the_document() -> None:
    document = fleet_document(fleet(mixed(), [Unread("c.json", "c.json: not a complete report")]))
    assert document["unread"] == [{"place": "c.json", "reason": "c.json: not a complete report"}]
    assert {row["machine_kind"] for one in document["agents"] for row in one["machine_kinds"]} == {
        kind["key"] for kind in document["machine_kinds"]
    }
    assert len(records(on(OLD, 1, agent(20.0)))) == 1
