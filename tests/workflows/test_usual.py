"""An artifact carries how its inputs and decisions usually are, by what is known when it is made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.checkpoints import reference as agents
from grandopt.runtime.loader import load
from grandopt.runtime.monitoring.sources import Looks
from grandopt.signature import Array, Moments
from grandopt.workflows.usual import usual
from tests.workflows.test_input_evidence import Judge


def carried(store: Store, samples: Array | None, moments: dict[str, Moments]) -> tuple[Looks, dict]:
    """What decision_gate carries, and those who look at it as monitoring does, after some rows."""
    judge = Judge(replace(agents.load("gate", "decision_gate", 0), moments=moments), store, samples)
    evidence = json.loads(json.dumps(usual(judge.opened, judge.oracle, judge.program)))
    looks = Looks.at(judge.program.signature, judge.program.contract, evidence)
    executor = load(build.original(judge.program, store).path, trust=True)
    rng = np.random.default_rng(2)
    for _ in range(40):
        rows = rng.standard_normal((64, 152)).astype(np.float32)
        looks.drift.add((rows,))
        looks.margins.add(executor.run([rows]))
    return looks, evidence


def test_recorded_observations_are_what_is_usual(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).standard_normal((600, 152)).astype(np.float32)
    looks, evidence = carried(Store(tmp_path), samples, {})
    assert set(evidence) == {"observations", "margins"}
    assert looks.drift.report().origin == "samples"
    assert looks.drift.report().drifted is False
    (margins,) = looks.margins.report()
    assert (margins.output, margins.origin, margins.grew) == ("decision", "samples", False)
    np.testing.assert_allclose(
        evidence["observations"]["inputs"]["state"]["mean"], samples.mean(0), atol=1e-5
    )


def test_a_normaliser_is_what_is_known_without_them(tmp_path: Path) -> None:
    moments = {"state": Moments((5.0,) * 152, (1.0,) * 152)}
    looks, evidence = carried(Store(tmp_path), None, moments)
    assert set(evidence) == {"observations"}
    report = looks.drift.report()
    assert (report.origin, report.drifted, report.drifted_features) == ("checkpoint", True, 152)


def test_nothing_known_is_nothing_carried(tmp_path: Path) -> None:
    looks, evidence = carried(Store(tmp_path), None, {})
    assert evidence == {}
    assert looks.drift.report().drifted is None
