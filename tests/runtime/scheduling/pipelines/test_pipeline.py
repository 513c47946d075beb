"""Pipelines while they run: order, overlap, deadlines, errors, cancellation, and what they count."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandopt.errors import (
    AgentFailed,
    DeadlineExceeded,
    Overloaded,
    ServingError,
    SignatureError,
)
from grandopt.runtime.scheduling.pipelines.pipeline import Pipeline
from grandopt.runtime.scheduling.pipelines.stage import Stage
from grandopt.runtime.scheduling.request import Priority
from tests.runtime.scheduling.adding import settle
from tests.runtime.scheduling.pipelines.agents import ALLOWED, GRAPH, REQUEST, Agents, trading


async def alone() -> None:
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("futures", [True, False])
def test_a_graph_answers_like_its_agents_one_by_one(futures: bool) -> None:
    async def body() -> None:
        pipeline = Pipeline("decide", GRAPH, trading(futures=futures))
        assert pipeline.inputs == ("bars", "features", "risk")
        answer = await pipeline(REQUEST)
        assert {name: array.tolist() for name, array in answer.items()} == {"allowed": [ALLOWED]}
        in_order = await pipeline(*(np.array(value, np.float64) for value in REQUEST.values()))
        assert in_order["allowed"].tolist() == [ALLOWED]
        stats = pipeline.stats()
        assert (stats.answered, stats.failed, stats.latency.total) == (2, 0, 2)
        assert {name: stage.latency.total for name, stage in stats.stages.items()} == dict.fromkeys(GRAPH, 2)
        await alone()

    asyncio.run(body())


def test_outputs_can_be_chosen_and_joined() -> None:
    async def body() -> None:
        outputs = {
            "allowed": "gate.allowed",
            "value": "policy.value",
            "both": ["structure.sigma", "request.risk"],
        }
        answer = await Pipeline("decide", GRAPH, trading(), outputs=outputs)(REQUEST)
        assert list(answer) == ["allowed", "value", "both"]
        assert answer["value"] == 13.0
        assert answer["both"].tolist() == [0, 0, 0.5, 0.25]

    asyncio.run(body())


def test_a_chain_is_a_list() -> None:
    async def body() -> None:
        agents = trading()
        agents.add("head", "x:2", "y:1", lambda x: (x[:1],))
        agents.add("scale", "y:1", "z:1", lambda y: (y * 3,))
        doubled = Stage("double", lambda values: {"y": values["z"] * 2}, outputs=["y"])
        again = {"name": "again", "agent": "scale"}
        pipeline = Pipeline("chain", ["structure", "head", "scale", doubled, again], agents)
        assert pipeline.inputs == ("bars",)
        assert (await pipeline([1, 2, 3]))["z"].tolist() == [36.0]

    asyncio.run(body())


def test_stages_start_as_soon_as_their_inputs_are_there() -> None:
    async def body() -> None:
        agents = trading(futures=True)
        agents.held = {"structure", "regime", "policy", "gate"}
        pipeline = Pipeline("decide", GRAPH, agents)
        task = asyncio.ensure_future(pipeline(REQUEST))
        await settle()
        assert agents.waiting == ["structure", "regime"]
        agents.release("regime")
        await settle()
        assert agents.waiting == ["structure"]
        agents.release("structure")
        await settle()
        other = asyncio.ensure_future(pipeline(REQUEST))  # beside the first one, whose policy runs
        await settle()
        assert agents.waiting == ["policy", "structure", "regime"]
        for name in ("policy", "gate", "structure", "regime", "policy", "gate"):
            await settle()
            agents.release(name)
        for answer in await asyncio.gather(task, other):
            assert answer["allowed"].tolist() == [ALLOWED]
        await alone()

    asyncio.run(body())


def test_functions_stand_around_agents_and_by_themselves() -> None:
    async def halved(values: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return {"bars": values["raw"] / 2}

    def shown(values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"first": values["mu"][:1], "thread": threading.get_ident()}

    async def body() -> None:
        graph = {
            "embed": Stage(
                "embed",
                "structure",
                {"raw": "request.bars"},
                halved,
                shown,
                ["first", "thread"],
                in_thread=True,
            ),
            "regime": Stage("regime", "regime", post=lambda values: {"code": values["code"] + 1}),
            "sum": Stage(
                "sum",
                lambda values: {"total": values["a"] + values["b"], "thread": values["thread"]},
                {"a": "embed.first", "b": "regime.code", "thread": "embed.thread"},
                outputs=["total", "thread"],
            ),
        }
        pipeline = Pipeline("functions", graph, trading())
        assert pipeline.inputs == ("bars", "features")
        answer = await pipeline(np.array([2.0, 4.0, 6.0]), [4, 5])
        assert answer["total"].tolist() == [1 + 1 + 8 + 1]
        assert answer["thread"] != threading.get_ident()
        await alone()

    asyncio.run(body())


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_graph_gives_what_its_stages_give_in_order(data: st.DataObject) -> None:
    """Random graphs of agents, plain and async functions; each is the sum of its sources plus its number."""
    count = data.draw(st.integers(1, 7), "stages")
    needs = [
        data.draw(
            st.lists(st.integers(-1, number - 1), min_size=1, max_size=3, unique=True), f"needs {number}"
        )
        for number in range(count)
    ]
    kinds = [data.draw(st.sampled_from(["agent", "plain", "async"]), "kind") for _ in range(count)]
    agents = Agents(futures=data.draw(st.booleans(), "futures"))
    pace = random.Random(data.draw(st.integers(0, 1000), "pace"))

    def stage(number: int) -> Stage:
        sources = {f"i{need}": f"s{need}.out" if need >= 0 else "request.x" for need in needs[number]}
        name, agent = f"s{number}", f"a{number}"

        def plain(values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"out": sum(values.values()) + number}

        async def later(values: Mapping[str, Any]) -> Mapping[str, Any]:
            for _ in range(pace.randint(0, 3)):
                await asyncio.sleep(0)
            return plain(values)

        if kinds[number] == "agent":
            inputs = " ".join(f"{source}:1" for source in sources)
            agents.add(agent, inputs, "out:1", lambda *arrays: (sum(arrays) + np.float32(number),))
            return Stage(name, agent, sources)
        return Stage(name, plain if kinds[number] == "plain" else later, sources, outputs=["out"])

    stages = [stage(number) for number in range(count)]
    pace.shuffle(stages)
    outputs = {f"o{number}": f"s{number}.out" for number in range(count)}

    def expected(x: float) -> list[float]:
        out: list[float] = []
        for number in range(count):
            out.append(sum(x if need < 0 else out[need] for need in needs[number]) + number)
        return out

    async def body() -> None:
        pipeline = Pipeline("random", {one.name: one for one in stages}, agents, outputs=outputs)
        xs = [1.0, 2.0, 5.0]
        takes = [np.array([x], np.float32) for x in xs]
        requests = [pipeline({"x": x}) if pipeline.inputs else pipeline() for x in takes]
        for x, answer in zip(xs, await asyncio.gather(*requests), strict=True):
            assert [float(value[0]) for value in answer.values()] == expected(x)
        await alone()

    asyncio.run(body())


@pytest.mark.parametrize("futures", [True, False])
def test_an_error_ends_its_request_and_its_siblings_but_no_other_one(futures: bool) -> None:
    async def body() -> None:
        agents = trading(futures=futures)
        agents.held = {"structure"}
        pipeline = Pipeline("decide", GRAPH, agents)
        first = asyncio.ensure_future(pipeline(REQUEST))
        await settle()
        agents.failing["regime"] = ServingError("broken")
        with pytest.raises(ServingError, match="pipeline 'decide', stage 'regime': broken"):
            await pipeline(REQUEST)
        assert agents.cancelled == ["structure"]  # and it has ended
        agents.release("structure")
        assert (await first)["allowed"].tolist() == [ALLOWED]
        stats = pipeline.stats()
        assert (stats.answered, stats.failed, stats.stages["regime"].failed) == (1, 1, 1)
        await alone()

    asyncio.run(body())


@pytest.mark.parametrize("alone_in_graph", [True, False])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Overloaded("full", 0.25), Overloaded),
        (DeadlineExceeded("late", 0.5), DeadlineExceeded),
        (SignatureError("wrong"), SignatureError),
        (ZeroDivisionError("none"), AgentFailed),
    ],
)
def test_errors_keep_their_class_and_name_their_stage(
    error: Exception, kind: type[Exception], alone_in_graph: bool
) -> None:
    def failing(values: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    async def body() -> None:
        graph = {"bad": Stage("bad", failing, {"x": "request.x"}, outputs=["y"])}
        if not alone_in_graph:
            graph["good"] = Stage("good", "structure")
        outputs = {name: f"{name}.{'y' if name == 'bad' else 'mu'}" for name in graph}
        pipeline = Pipeline("errors", graph, trading(), outputs=outputs)
        with pytest.raises(kind, match="pipeline 'errors', stage 'bad'") as caught:
            await pipeline(dict.fromkeys(pipeline.inputs, np.zeros(3, np.float32)))
        assert type(caught.value) is kind
        assert caught.value.__cause__ is error
        assert vars(caught.value).get("retry_after_s") == vars(error).get("retry_after_s")
        await alone()

    asyncio.run(body())


def test_what_an_agent_raised_stays_the_cause() -> None:
    async def body() -> None:
        agents, original = trading(), ValueError("inside")
        failed = AgentFailed("the agent raised ValueError: inside")
        failed.__cause__ = original
        agents.failing["structure"] = failed
        with pytest.raises(AgentFailed, match="stage 'structure': the agent raised") as caught:
            await Pipeline("one", ["structure"], agents)([1, 2, 3])
        assert caught.value.__cause__ is original

    asyncio.run(body())


@pytest.mark.parametrize("gone", ["structure", "policy"])
def test_a_cancelled_caller_leaves_nothing_running(gone: str) -> None:
    async def body() -> None:
        agents = trading(futures=True)
        agents.held = {gone}
        pipeline = Pipeline("decide", GRAPH, agents)
        task = asyncio.ensure_future(pipeline(REQUEST))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await alone()
        assert agents.cancelled == [gone]
        assert pipeline.stats().cancelled == 1

    asyncio.run(body())


@pytest.mark.parametrize("slow", ["structure", "gate"])
def test_one_deadline_is_for_the_whole(slow: str) -> None:
    async def body() -> None:
        agents = trading(futures=True)
        pipeline = Pipeline("decide", GRAPH, agents)
        before = time.perf_counter_ns()
        await pipeline(REQUEST, priority="critical", deadline_s=5.0)
        deadlines = {deadline for _, _, deadline in agents.calls}
        assert len(deadlines) == 1
        assert 0 <= deadlines.pop() - before - int(5e9) < int(1e9)
        assert {priority for _, priority, _ in agents.calls} == {Priority.CRITICAL}
        agents.held = {slow}
        with pytest.raises(DeadlineExceeded, match=f"the deadline passed in stage '{slow}'"):
            await pipeline(REQUEST, deadline_s=0.02)
        assert agents.cancelled == [slow]
        assert (pipeline.stats().missed, pipeline.stats().failed) == (1, 0)
        await alone()

    asyncio.run(body())


def test_a_function_that_blocks_past_the_deadline_ends_the_pipeline() -> None:
    now = 0

    def blocking(values: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal now
        now += 2_000_000_000
        return {"mu": values["bars"]}

    async def body() -> None:
        nonlocal now
        late = Stage("late", blocking, {"bars": "request.bars"}, outputs=["mu"])
        agents = trading()
        agents.add("after", "mu:3", "y:3", lambda mu: (mu,))
        for graph, message in (([late], "in stage 'late'"), ([late, "after"], "before stage 'after'")):
            pipeline = Pipeline("slow", graph, agents, clock=lambda: now)
            with pytest.raises(DeadlineExceeded, match=message):
                await pipeline(np.zeros(3, np.float32), deadline_s=1.0)
            assert agents.calls == []
        with pytest.raises(DeadlineExceeded, match="has passed"):
            await pipeline(np.zeros(3, np.float32), deadline_s=-1.0)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"bars": [1, 2, 3], "risk": [1, 2]}, "missing features"),
        ({**REQUEST, "more": 1}, "unexpected more"),
        ({**REQUEST, "bars": [1, 2]}, r"bars: expected shape \[3\]"),
        ({**REQUEST, "bars": [[1, 2, 3]]}, "one observation at a time"),
        ({**REQUEST, "risk": ["low", "high"]}, "an agent takes numbers"),
    ],
)
def test_a_wrong_request_is_refused_and_others_go_on(request_: dict[str, Any], message: str) -> None:
    async def body() -> None:
        pipeline = Pipeline("decide", GRAPH, trading())
        with pytest.raises(SignatureError, match=message):
            await pipeline(request_)
        with pytest.raises(SignatureError, match="expected 3 input"):
            await pipeline([1, 2, 3])
        assert (await pipeline(REQUEST))["allowed"].tolist() == [ALLOWED]

    asyncio.run(body())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"other": 1}, "declares y, but gave other"),
        ({}, "gave nothing"),
        (7, "must give a mapping by name, gave int"),
    ],
)
def test_a_function_that_gives_something_else_is_named(given: object, message: str) -> None:
    async def body() -> None:
        stage = Stage("odd", lambda values: given, {"x": "request.x"}, outputs=["y"])
        with pytest.raises(SignatureError, match=f"stage 'odd': .*{message}"):
            await Pipeline("p", [stage], trading())(1)
        before = Stage("pre", "structure", {"x": "request.x"}, pre=lambda values: given)
        with pytest.raises(SignatureError, match="stage 'pre': "):
            await Pipeline("p", [before], trading())(1)

    asyncio.run(body())


def test_what_a_function_gives_is_made_to_fit_the_next_agent_or_refused() -> None:
    async def body() -> None:
        given: object = [1, 2, 3]
        stage = Stage("make", lambda values: {"bars": given}, {"x": "request.x"}, outputs=["bars"])
        pipeline = Pipeline("p", [stage, "structure"], trading())
        assert (await pipeline(0))["mu"].tolist() == [2, 3]
        given = [1, 2]
        with pytest.raises(SignatureError, match=r"stage 'structure': bars: expected shape \[3\]"):
            await pipeline(0)

    asyncio.run(body())
