"""The search: what it proposes, what it keeps, and what it says at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.api.configuration import ConfigurationManager, OptimizationGoal, ServingFigures
from grandopt.errors import ConfigError, EngineError, TuningError
from grandopt.reason import Reason, ReasonCode
from grandopt.tuning.configuration.condition import when
from grandopt.tuning.configuration.constraints import Constraint, constraint_of
from grandopt.tuning.configuration.optimization import SearchSettings, search
from grandopt.tuning.configuration.parameter import boolean, categorical, integer, real
from grandopt.tuning.configuration.pareto import dominates
from grandopt.tuning.configuration.result import ConfigurationResult
from grandopt.tuning.configuration.rules import Relation
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.space import ConfigurationSpace, key_of
from grandopt.tuning.result import Infeasible
from tests.tuning.configuration.spaces import spaces

LIMIT = integer("limit", 1, 1024, 64, logarithmic=True)
KIND = categorical("kind", ("inline", "threads"), "inline")
WORKERS = integer("workers", 1, 8, 2, active_when=(when("kind", "threads"),))
QUEUE = integer("queue", 1, 4096, 1024, logarithmic=True)
MANAGER = (LIMIT, KIND, WORKERS, QUEUE)
RULES = (Relation("queue", ">=", "limit", "a batch is made of rows that wait"),)
SMALL = (integer("n", 1, 4, 1), boolean("on", False))


class Service:
    """A model of a service: larger batches serve more a second, and answer later. It counts its calls."""

    def __init__(self, noise: float = 0.0) -> None:
        self.asked: list[str] = []
        self._random = random.Random(5)
        self._noise = noise

    def __call__(self, configuration: Mapping[str, Any]) -> dict[str, float]:
        self.asked.append(key_of(configuration))
        rows, workers = configuration["limit"], configuration.get("workers", 1)
        a, b, c = (self._random.lognormvariate(0.0, self._noise) for _ in range(3))
        return {
            "latency_p99_us": (30.0 + 2.0 * rows) * a,
            "throughput": 1e5 * rows / (rows + 50) * workers**0.3 * b,
            "memory_mb": (100.0 + 20.0 * workers) * c,
        }


def manager() -> ConfigurationManager:
    return ConfigurationManager(MANAGER, RULES)


def small(evaluator: Any, **changes: Any) -> ConfigurationResult:
    asked: dict[str, Any] = {"goal": "throughput"} | changes
    return ConfigurationManager(SMALL).optimize_configuration(evaluator, **asked)


def by_n(configuration: Mapping[str, Any]) -> dict[str, float]:
    return {"throughput": 10.0 * configuration["n"] + configuration["on"]}


def test_the_usage_in_the_design_runs_as_written() -> None:
    import grandopt

    def f(configuration: dict[str, Any]) -> dict[str, float]:
        rows = configuration.get("batch_limit", 1)
        return {"throughput": 1e5 * rows / (rows + 50)}

    best = grandopt.ConfigurationManager().optimize_configuration(
        evaluator=f, goal=grandopt.OptimizationGoal.MAXIMIZE_THROUGHPUT
    )
    assert best.verdict == "better"
    assert best.configuration["batch_limit"] > 256
    assert grandopt.ConfigurationManager().validate(best.configuration) == best.configuration


def test_the_default_is_first_then_the_start_and_the_best_beats_the_default() -> None:
    service = Service(noise=0.02)
    start = {"limit": 128}
    found = manager().optimize_configuration(service, "throughput", trials=20, start=start)
    assert found.trials[0].configuration == manager().default
    assert found.trials[1].configuration == {**manager().default, "limit": 128}
    assert found.verdict == "better"
    assert found.configuration["limit"] > 128
    assert found.confirmation is not None
    assert found.confirmation.rounds == 6
    winner = next(item for item in found.confirmation.finalists if item.trial == found.best.number)
    assert 1.0 < winner.low < winner.ratio < winner.high
    # Each was evaluated once in the search, and the default and the finalists once more in every round.
    assert len(service.asked) == 20 + 3 * 6
    assert len(set(service.asked)) == 20


def test_constraints_are_kept_by_the_best_and_lead_the_search() -> None:
    found = manager().optimize_configuration(
        Service(),
        "throughput",
        trials=40,
        constraints=["latency_p99_us <= 500", Constraint("memory_mb", most=150)],
    )
    assert found.best.figures.latency_p99_us <= 500
    assert found.best.figures.memory_mb <= 150
    assert found.configuration["limit"] > 150  # 235 is the most that the first allows
    states = [trial.state for trial in found.trials]
    assert "violating" in states
    broken = next(trial for trial in found.trials if trial.state == "violating")
    assert "asked for is" in broken.violations[0]


def test_the_search_looks_where_constraints_are_kept() -> None:
    small_limits = []
    for constraints in ((), ("latency_p99_us <= 60",)):  # a limit of 15 at most
        found = manager().optimize_configuration(
            Service(), "throughput", trials=24, constraints=constraints, repeats=5
        )
        proposed = [trial.configuration["limit"] for trial in found.trials[12:]]
        small_limits.append(sum(limit <= 15 for limit in proposed))
    assert small_limits[0] <= 1
    assert small_limits[1] >= 4
    assert found.verdict == "default_unfit"
    assert 5 <= found.configuration["limit"] <= 15


def test_the_goals_look_at_their_figures() -> None:
    for goal, best in (("latency", 1), ("MINIMIZE_MEMORY", None), (OptimizationGoal.BALANCED, None)):
        found = manager().optimize_configuration(Service(), goal, trials=16)
        if best is not None:
            assert found.configuration["limit"] <= 4
        assert found.verdict in ("better", "default_kept")
    assert found.best.scores[0] < 1.0 == found.default.scores[0]


def test_where_nothing_is_better_the_default_is_the_answer() -> None:
    noise = random.Random(1)
    found = small(lambda configuration: {"throughput": noise.lognormvariate(5.0, 0.1)})
    assert found.verdict == "default_kept"
    assert found.best == found.default
    assert found.reason.code is ReasonCode.NOTHING_FASTER
    assert "not shown to be better" in found.reason.text
    only = ConfigurationManager([integer("n", 3, 3, 3)]).optimize_configuration(by_three, "throughput")
    assert (only.verdict, only.stopped_by, only.configuration) == ("default_kept", "exhausted", {"n": 3})
    assert "no other configuration" in only.reason.text


def by_three(configuration: Mapping[str, Any]) -> dict[str, float]:
    return {"throughput": float(configuration["n"])}


def test_a_lucky_measurement_does_not_win() -> None:
    """The best of many noisy ones is the luckiest; measured again, it is like the others."""
    wrong = 0
    for seed in range(20):
        noise = random.Random(seed)
        found = ConfigurationManager(SMALL).optimize_configuration(
            lambda configuration, noise=noise: {"throughput": noise.lognormvariate(5.0, 0.3)},
            "throughput",
            seed=seed,
        )
        wrong += found.verdict == "better"
    assert wrong <= 4  # of 20; one is expected, and five have a chance of 0.3 %


def test_every_configuration_of_a_small_space_is_evaluated_once() -> None:
    found = small(by_n)
    assert found.stopped_by == "exhausted"
    assert len({key_of(trial.configuration) for trial in found.trials}) == len(found.trials) == 8
    assert found.configuration == {"n": 4, "on": True}


def test_named_parameters_vary_and_the_others_stay() -> None:
    found = small(by_n, parameters=["n"], start={"on": True})
    assert found.stopped_by == "exhausted"
    rest = [trial.configuration for trial in found.trials[1:]]
    assert all(configuration["on"] for configuration in rest)
    assert found.configuration == {"n": 4, "on": True}


def test_what_the_evaluator_refuses_is_kept_with_its_reason() -> None:
    def picky(configuration: Mapping[str, Any]) -> dict[str, float]:
        if configuration["n"] == 4:
            raise EngineError("four is too many")
        if configuration["n"] == 3:
            raise Infeasible(Reason(ReasonCode.OUT_OF_MEMORY, "three do not fit"))
        if configuration["n"] == 2:
            return {"throughput": 0.0}
        return by_n(configuration)

    found = small(picky)
    assert len(found.trials) == 8
    reasons = {trial.configuration["n"]: trial.reason for trial in found.trials}
    assert (reasons[4].text, reasons[4].code) == ("four is too many", ReasonCode.ENGINE_FAILED)
    assert reasons[3].code is ReasonCode.OUT_OF_MEMORY
    assert "throughput is 0" in reasons[2].text
    assert reasons[1] is None
    assert found.configuration == {"n": 1, "on": True}
    assert json.loads(json.dumps(found.to_json()))["version"] == 1


def test_a_default_that_breaks_a_constraint_gives_way_to_the_best_that_does_not() -> None:
    found = small(by_n, constraints=["throughput >= 25"])
    assert found.verdict == "default_unfit"
    assert found.configuration == {"n": 4, "on": True}
    assert "breaks a constraint: throughput is 10" in found.reason.text

    def picky(configuration: Mapping[str, Any]) -> dict[str, float]:
        if configuration == {"n": 1, "on": False}:
            raise EngineError("not this one")
        return by_n(configuration)

    found = small(picky)
    assert (found.verdict, found.configuration) == ("default_unfit", {"n": 4, "on": True})
    assert "does not work: not this one" in found.reason.text


def test_where_nothing_fits_there_is_no_best() -> None:
    found = small(by_n, constraints=["throughput >= 100"])
    assert (found.verdict, found.best, found.pareto) == ("none_fit", None, ())
    with pytest.raises(TuningError, match="none of 8 configurations works and keeps to all constraints"):
        _ = found.configuration


def test_one_that_keeps_a_limit_by_luck_is_not_the_answer() -> None:
    calls: dict[str, int] = {}

    def worse_later(configuration: Mapping[str, Any]) -> dict[str, float]:
        key = key_of(configuration)
        calls[key] = calls.get(key, 0) + 1
        figures = by_n(configuration)
        lucky = configuration["n"] == 4 and calls[key] == 1
        return {**figures, "memory_mb": 50.0 if lucky or configuration["n"] in (2, 3) else 150.0}

    found = small(worse_later, constraints=["memory_mb <= 100"])
    assert found.verdict == "default_unfit"
    assert found.configuration == {"n": 3, "on": True}


def test_one_that_fails_later_is_not_the_answer() -> None:
    calls: dict[str, int] = {}

    def fails_later(configuration: Mapping[str, Any]) -> dict[str, float]:
        key = key_of(configuration)
        calls[key] = calls.get(key, 0) + 1
        if configuration["n"] == 4 and calls[key] > 3:
            raise EngineError("worn out")
        return by_n(configuration)

    found = small(fails_later, finalists=3)
    assert (found.verdict, found.configuration) == ("better", {"n": 3, "on": True})


def test_several_goals_give_the_pareto_set() -> None:
    found = manager().optimize_configuration(Service(), ("latency", "throughput"), trials=20)
    assert (found.verdict, found.best, found.confirmation) == ("several_goals", None, None)
    feasible = [trial for trial in found.trials if trial.state == "feasible"]
    for trial in feasible:
        beaten = any(dominates(other.scores, trial.scores) for other in feasible)
        assert (trial in found.pareto) is not beaten
    with pytest.raises(TuningError, match="choose one of the"):
        _ = found.configuration


def test_an_asynchronous_evaluator_runs_in_one_loop() -> None:
    loops = set()

    async def evaluator(configuration: Mapping[str, Any]) -> ServingFigures:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        return ServingFigures(throughput=10.0 * configuration["n"])

    assert small(evaluator).configuration["n"] == 4
    assert len(loops) == 1

    async def inside() -> None:
        with pytest.raises(TuningError, match=r"await asyncio\.to_thread"):
            small(evaluator)
        found = await asyncio.to_thread(small, evaluator)
        assert found.configuration["n"] == 4

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "the goal 'throughput' is judged by throughput, and the evaluator gave nothing"),
        ({"memory_mb": 5}, "the evaluator gave memory_mb: let it also return throughput"),
        ({"throughput": float("nan")}, "throughput must be a finite number"),
        ({"throughput": -1.0}, "at least 0"),
        ({"throughput": "fast"}, "the evaluator gave 'fast'"),
        (5.0, "it returned 5.0"),
        (None, "it returned None"),
    ],
)
def test_figures_that_are_none_are_an_error_of_the_evaluator(answer: Any, words: str) -> None:
    with pytest.raises(TuningError, match=re.escape(words)):
        small(lambda configuration: answer)


def test_balanced_needs_two_figures_and_the_default() -> None:
    with pytest.raises(TuningError, match="judged by latency_p50_us, throughput, memory_mb"):
        small(by_n, goal="balanced")

    def picky(configuration: Mapping[str, Any]) -> dict[str, float]:
        if configuration == {"n": 1, "on": False}:
            raise EngineError("not this one")
        return {**by_n(configuration), "memory_mb": 5.0}

    with pytest.raises(TuningError, match="could not be evaluated: not this one"):
        small(picky, goal="balanced")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"goal": "speed"}, "there is no goal 'speed'; known: latency, throughput, memory, balanced"),
        ({"goal": []}, "there is no goal"),
        ({"goal": ["latency", "MINIMIZE_LATENCY"]}, "named twice"),
        ({"constraints": ["throughput < 5"]}, "a constraint reads"),
        ({"constraints": ["throughput <= 1e"]}, "is no number"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"budget_s": 0}, "budget_s must be above 0"),
        ({"repeats": 4}, "repeats must be at least 5"),
        ({"finalists": 0}, "finalists must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"parameters": ["m"]}, "no parameter 'm' to vary"),
        ({"parameters": []}, "nothing varies"),
        ({"start": {"n": 9}}, "n must be a whole number from 1 to 4, got 9"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(changes: dict[str, Any], words: str) -> None:
    def never(configuration: Mapping[str, Any]) -> dict[str, float]:
        raise AssertionError("measured")

    with pytest.raises(ConfigError, match=re.escape(words)):
        small(never, **changes)


def test_a_constraint_on_a_figure_that_is_not_measured_is_an_error() -> None:
    with pytest.raises(TuningError, match=r"latency_p99_us <= 5 needs a figure .* \(it gave throughput\)"):
        small(by_n, constraints=["latency_p99_us <= 5"])
    assert str(constraint_of("throughput >= 5e4")) == "throughput >= 50000"


@settings(max_examples=15, deadline=None)
@given(space=spaces(), seed=st.integers(0, 1000), limit=st.floats(0.1, 2.0), data=st.randoms())
def test_every_proposal_is_valid_and_new_and_the_best_keeps_to_the_constraints(
    space: ConfigurationSpace, seed: int, limit: float, data: random.Random
) -> None:
    asked: list[str] = []

    def measure(configuration: Mapping[str, Any]) -> ServingFigures:
        assert space.complete(configuration) == configuration
        asked.append(key_of(configuration))
        return ServingFigures(throughput=data.uniform(0.5, 2.0), memory_mb=data.uniform(0.5, 2.0))

    for goals in ((OptimizationGoal.MAXIMIZE_THROUGHPUT,), tuple(OptimizationGoal)[1:3]):
        asked.clear()
        found = search(
            SearchSpace.of(space),
            measure,
            goals=goals,
            constraints=(Constraint("memory_mb", most=limit),),
            settings=SearchSettings(trials=14, repeats=5, seed=seed),
        )
        assert len({key_of(trial.configuration) for trial in found.trials}) == len(found.trials)
        assert asked[0] == key_of(space.default)
        if len(found.trials) < 14:
            assert found.stopped_by == "exhausted"
            if space.combinations is not None and space.combinations <= 10_000:
                assert len(found.trials) == len(list(space.every({})))
        if found.best is not None:
            assert found.best.figures.memory_mb <= limit
        for trial in found.pareto:
            assert trial.figures.memory_mb <= limit


@settings(max_examples=100, deadline=None)
@given(space=spaces(), data=st.data())
def test_changing_towards_a_wish_stays_valid(space: ConfigurationSpace, data: st.DataObject) -> None:
    wanted = {}
    for parameter in space.parameters:
        if parameter.choices:
            wanted[parameter.name] = data.draw(st.sampled_from(parameter.choices))
        elif parameter.kind == "integer":
            wanted[parameter.name] = data.draw(st.integers(int(parameter.low), int(parameter.high)))
        else:
            wanted[parameter.name] = data.draw(st.floats(parameter.low, parameter.high))
    reached = SearchSpace.of(space).towards(wanted, [parameter.name for parameter in space.ordered])
    assert space.complete(reached) == reached


def test_rules_that_nearly_nothing_keeps_are_met_all_the_same() -> None:
    names = [f"p{number}" for number in range(8)]
    parameters = [real(name, 0.0, 1.0, number / 10) for number, name in enumerate(names)]
    rules = [Relation(one, "<=", other, "in order") for one, other in itertools.pairwise(names)]
    found = ConfigurationManager(parameters, rules).optimize_configuration(
        lambda configuration: {"throughput": 1.0 + configuration["p0"]}, "throughput", trials=20
    )
    assert len(found.trials) == 20
    for trial in found.trials:
        values = list(trial.configuration.values())
        assert values == sorted(values)
    assert len({key_of(trial.configuration) for trial in found.trials}) == 20


def test_the_budget_ends_the_search_and_keeps_time_to_measure_again() -> None:
    now = [0.0]

    def slow(configuration: Mapping[str, Any]) -> dict[str, float]:
        now[0] += 1.0
        return Service()(configuration)

    found = manager().optimize_configuration(
        slow, "throughput", trials=1000, budget_s=40.0, clock=lambda: now[0]
    )
    assert found.stopped_by == "budget"
    assert found.verdict == "better"
    assert found.confirmation.rounds == 6
    assert now[0] <= 42.0
    now[0] = 0.0
    short = manager().optimize_configuration(
        slow, "throughput", trials=1000, budget_s=8.0, clock=lambda: now[0]
    )
    assert short.verdict == "default_kept"
    assert short.reason.code is ReasonCode.NOT_MEASURED_IN_TIME


def test_a_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    first = Service()
    manager().optimize_configuration(first, "throughput", trials=5, storage=url)
    second = Service()
    found = manager().optimize_configuration(second, "throughput", trials=9, storage=url)
    assert found.reused == 5
    assert len(found.trials) == 9
    assert len({key_of(trial.configuration) for trial in found.trials}) == 9
    third = Service()
    again = manager().optimize_configuration(third, "throughput", trials=9, storage=url)
    assert third.asked == []  # also what was measured again is kept
    assert again.to_json() == {**found.to_json(), "reused": 9}
    with pytest.raises(TuningError, match=r"made for another search \(other goals\)"):
        manager().optimize_configuration(third, "latency", trials=9, storage=url)
    with pytest.raises(TuningError, match=r"made for another search \(other constraints, varied, fixed\)"):
        manager().optimize_configuration(
            third, "throughput", trials=9, storage=url, parameters=["limit"], constraints=["memory_mb <= 1"]
        )
    anew = manager().optimize_configuration(third, "latency", trials=2, storage=url, resume=False)
    assert (anew.reused, len(anew.trials)) == (0, 2)


def test_an_interrupt_keeps_what_there_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    service = Service()

    def interrupted(configuration: Mapping[str, Any]) -> dict[str, float]:
        if len(service.asked) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return service(configuration)

    used = manager()
    for storage in (None, url):
        service.asked.clear()
        used.so_far = None
        with pytest.raises(KeyboardInterrupt):
            used.optimize_configuration(interrupted, "throughput", trials=9, storage=storage)
        kept: Any = used.so_far
        assert len(kept.trials) == 4
        assert kept.stopped_by == "interrupted"
        assert kept.best == kept.default  # nothing was measured again
    found = manager().optimize_configuration(Service(), "throughput", trials=9, storage=url)
    assert found.reused == 4
    assert len(found.trials) == 9


@pytest.mark.parametrize("where", ["search", "again"])
def test_any_other_exception_passes_through_with_the_study_kept(tmp_path: Path, where: str) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    calls = 0

    def breaks(configuration: Mapping[str, Any]) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == (3 if where == "search" else 12):
            raise ZeroDivisionError("a mistake in the evaluator")
        return by_n(configuration)

    with pytest.raises(ZeroDivisionError):
        small(breaks, storage=url)
    found = small(by_n, storage=url)
    assert found.reused == (2 if where == "search" else 8)
    assert found.configuration == {"n": 4, "on": True}


def test_what_a_process_left_behind_that_died_is_taken_over(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    code = (
        "import os, signal, sys\n"
        "from tests.tuning.configuration.test_search import by_n, small\n"
        "def dies(configuration):\n"
        "    if configuration['n'] == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return by_n(configuration)\n"
        "small(dies, storage=sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, url], check=False)
    assert done.returncode == -signal.SIGKILL
    found = small(by_n, storage=url)
    assert len(found.trials) == 8
    assert found.configuration == {"n": 4, "on": True}


def test_another_process_at_work_on_the_study_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    words: list[str] = []

    def nested(configuration: Mapping[str, Any]) -> dict[str, float]:
        if not words:
            words.append("")
            try:
                small(by_n, storage=url)
            except TuningError as error:
                words.append(str(error))
        return by_n(configuration)

    found = small(nested, storage=url)
    assert f"process {os.getpid()}" in words[1]
    assert len(found.trials) == 8


def test_the_same_seed_makes_the_same_search_and_the_importance_names_what_matters() -> None:
    runs = [manager().optimize_configuration(Service(), "throughput", trials=14, seed=3) for _ in range(2)]
    orders = [[trial.configuration for trial in found.trials] for found in runs]
    assert orders[0] == orders[1]
    free = ConfigurationManager([LIMIT, KIND, WORKERS, boolean("nothing", False)])
    importance = free.optimize_configuration(Service(), "latency", trials=14).importance
    assert importance is not None
    assert set(importance) == {"limit", "kind", "nothing"}  # workers do not always count
    assert importance["limit"] > 0.8
    assert small(by_n, trials=3).importance is None


def test_each_trial_is_heard_of() -> None:
    heard: list[int] = []
    note: Callable[[Any], None] = lambda trial: heard.append(trial.number)  # noqa: E731
    found = small(by_n, on_trial=note)
    assert heard == [trial.number for trial in found.trials]
