"""The server suite on a real artifact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions, TorchScriptOptions
from grandopt.errors import ConfigError, MeasurementError
from grandopt.runtime.loader import load
from grandopt.suites.server.asking import read, write
from grandopt.suites.server.expected import Expected
from grandopt.suites.server.suite import ROUNDS, ServerLine, benchmark_server
from tests.serving.clients.environment import ENVIRONMENTS
from tests.small_agents import Pair, Policy, program


def test_a_line_is_met_in_its_direction() -> None:
    assert ServerLine("", "times", 3.0, (3.0,), 3.0).met is True
    assert ServerLine("", "times", 2.9, (2.9,), 3.0).met is False
    assert ServerLine("", "µs", 151.0, (151.0,), 150.0, at_least=False).met is False
    assert ServerLine("", "1/s", 1.0, (1.0,)).met is None


@pytest.mark.slow
def test_an_artifact_is_asked_in_all_ways(tmp_path: Path) -> None:
    artifact = build(program(Policy), Candidate("float32", NativeOptions()), Store(tmp_path)).path
    place = ENVIRONMENTS["fastapi"].folder
    rival = place if place.is_dir() else None
    told: list[str] = []
    found = benchmark_server(artifact, rival, 0.1, told.append)
    assert len(told) == ROUNDS
    assert all(line.value > 0 and len(line.rounds) == ROUNDS for line in found.lines)
    assert (found.reason is None) == (rival is not None)
    assert any("ring" in line.text for line in found.lines)
    assert any("fastapi" in line.text for line in found.lines) == (rival is not None)


def test_another_answer_than_the_artifacts_own_is_no_figure(tmp_path: Path) -> None:
    path = build(program(Policy), Candidate("float32", TorchScriptOptions()), Store(tmp_path)).path
    policy = load(path)
    (spec,) = policy.signature.inputs
    rows = np.stack((np.zeros(spec.shape, spec.dtype), np.ones(spec.shape, spec.dtype)))
    expected, outputs = Expected(path, rows), [np.array(output) for output in policy.run([rows[1:]])]
    for changed in (False, True):
        if changed:
            outputs[-1].flat[-1] = np.nextafter(outputs[-1].flat[-1], np.float32(9))
        text = json.dumps({"outputs": [{"data": output.ravel().tolist()} for output in outputs]}).encode()
        raw = b"{}" + b"".join(output.tobytes() for output in outputs)
        for way, body in (("json", text), ("fastapi", text), ("lone binary", raw), ("lone ring", raw[2:])):
            if changed:
                with pytest.raises(MeasurementError, match=f"{way}: the answer is not"):
                    expected.check(way, 1, body)
            else:
                expected.check(way, 1, body)


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    requests = [b"", b"one", bytes(range(256)) * 3]
    write(tmp_path / "requests", requests)
    assert read(tmp_path / "requests") == requests


@pytest.mark.slow
def test_an_agent_of_several_inputs_is_refused(tmp_path: Path) -> None:
    artifact = build(program(Pair), Candidate("float32", NativeOptions()), Store(tmp_path)).path
    with pytest.raises(ConfigError, match="the agent has 2 inputs"):
        benchmark_server(artifact, None, 0.1, print)
