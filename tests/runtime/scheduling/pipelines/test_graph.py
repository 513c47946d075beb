"""Graphs that cannot be run are refused beforehand, with a message that names both sides."""

from __future__ import annotations

import re
from typing import Any

import pytest

from grandopt.errors import ConfigError, UnknownAgentError
from grandopt.runtime.scheduling.pipelines.graph import graph_of
from grandopt.runtime.scheduling.pipelines.pipeline import Pipeline
from grandopt.runtime.scheduling.pipelines.stage import Stage
from tests.runtime.scheduling.pipelines.agents import GRAPH, trading


def changed(stage: str, **fields: Any) -> dict[str, Any]:
    return {**GRAPH, stage: {**GRAPH[stage], **fields}}


def plain(values: Any) -> Any:
    return values


CIRCLE = {
    "a": Stage("a", plain, {"x": "c.y"}, outputs=["y"]),
    "b": Stage("b", plain, {"x": "a.y", "z": "request.z"}, outputs=["y"]),
    "c": Stage("c", plain, {"x": "b.y"}, outputs=["y"]),
    "end": Stage("end", plain, {"x": "c.y"}, outputs=["y"]),
}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({}, "needs at least one stage"),
        ([], "needs at least one stage"),
        ("structure", "a graph is a mapping or a list of stages, got str"),
        (7, "got int"),
        (CIRCLE, "in a circle: a → b → c → a"),
        ({"me": Stage("me", plain, {"x": "me.y"}, outputs=["y"])}, "in a circle: me → me"),
        (["structure", "structure"], "two stages are called 'structure'"),
        ({"a": Stage("b", "structure")}, "stage 'b' stands under the name 'a'"),
        ({"request": "structure"}, "'request' cannot be the name of a stage"),
        ({"a.b": "structure"}, "'a.b' cannot be the name of a stage"),
        ({"a": 5}, "stage 'a' is no Stage, mapping or agent's name, but int"),
        ([plain], "a function needs a Stage"),
        ({"a": {"agent": "structure", "input": "request.x"}}, "stage 'a': unknown field input; the fields"),
        ({"a": {"inputs": "request.x"}}, "stage 'a': no agent"),
        ({"a": {"agent": 5}}, "5 is neither an agent's name nor a function"),
        (changed("policy", inputs=["structur.mu", "regime.code"]),
         "'structur.mu' is of an unknown stage; there are request, structure, regime, policy, gate"),
        (changed("policy", inputs=["structure.mean", "regime.code"]),
         "stage 'policy', input 'state': stage 'structure' has no output 'mean'; it gives mu, sigma"),
        (changed("policy", inputs="structure"), "'structure' is no source"),
        (changed("policy", inputs=[]), "stage 'policy', input 'state': it has no source"),
        (changed("policy", inputs={}), "missing state, unexpected none; the agent 'policy' takes state"),
        (changed("policy", inputs={"state": "structure.mu", "more": "request.x"}), "unexpected more"),
        ({"f": Stage("f", plain, outputs=["y"])}, "say where its inputs come from"),
        ({"f": Stage("f", plain, {}, outputs=["y"])}, "stage 'f': it has no input"),
        ({"f": Stage("f", plain, {"x": "request.x"})}, "a function needs names for its outputs"),
        ({"f": Stage("f", plain, {"x": "request.x"}, outputs="y")}, "outputs is a list of names, got 'y'"),
        ({"f": Stage("f", plain, "request.x", outputs=["y"])}, "inputs must say which input each"),
        ({"f": Stage("f", plain, {"x": "request.x"}, pre=plain, outputs=["y"])}, "pre and post stand around"),
        ({"a": Stage("a", "structure", outputs=["y"])}, "`outputs` names what `post` gives"),
        ({**GRAPH, "lost": "structure"}, "nothing uses what stage 'structure' gives; leave it out"),
        (changed("policy", inputs=["structure.mu", "regime.code", "regime.code"]),
         "takes float32 [3], but gets structure.mu 2 + regime.code 1 + regime.code 1"),
        (changed("gate", inputs="policy.scores"),
         "stage 'gate', input 'scores': takes float32 [4], but policy.scores is float32 [2] "
         "(stage 'policy' gives it)"),
        (changed("gate", inputs=["policy.value", "request.risk"]),
         "policy.value is float32 [] (stage 'policy' gives it), which is no part of float32 [4]"),
        (changed("regime", inputs="request.bars"),
         "stage 'regime', input 'features': takes float32 [2], but request.bars is float32 [3] "
         "(stage 'structure', input 'bars' takes it)"),
        (["regime", "structure"],
         "stage 'structure', input 'bars': takes float32 [3], but regime.code is float32 [1]"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(graph: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"pipeline 'p': .*{re.escape(message)}"):
        Pipeline("p", graph, trading())


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "needs an output"),
        ({"a": "gate.other"}, "output 'a': stage 'gate' has no output 'other'; it gives allowed"),
        ({"a": "other.x"}, "of an unknown stage"),
        ({"a": "policy.scores"}, "nothing uses what stage 'gate' gives"),
    ],
)
def test_outputs_that_cannot_be_are_refused(outputs: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Pipeline("p", GRAPH, trading(), outputs=outputs)


def test_an_unknown_agent_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownAgentError, match="no agent 'other'; there are structure"):
        Pipeline("p", ["other"], trading())


def test_too_few_outputs_for_the_next_stage_of_a_chain() -> None:
    agents = trading()
    agents.add("two", "a:1 b:1", "c:1", lambda a, b: (a,))
    with pytest.raises(
        ConfigError, match=r"stage 'two' takes 2 inputs \(a, b\), but stage 'regime' before it"
    ):
        Pipeline("p", ["regime", "two"], agents)


def test_stages_may_stand_in_any_order_and_inputs_take_their_agents_form() -> None:
    graph = graph_of(dict(reversed(GRAPH.items())), trading(), {"allowed": "gate.allowed"})
    assert [node.name for node in graph.nodes] == ["regime", "structure", "policy", "gate"]
    forms = {name: None if spec is None else spec.shape for name, spec in graph.inputs.items()}
    assert forms == {"features": (2,), "bars": (3,), "risk": (2,)}
