"""`grandopt benchmark --suite residence`: what was shipped, in one process, beside eager torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.cli.job import job
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from grandopt.config.load import Overrides
from grandopt.config.schema import Job
from grandopt.errors import ConfigError
from grandopt.suites import residence
from grandopt.suites.residence import benchmark_residence
from grandopt.workflows.optimize import ship
from tests.engines.conftest import agent

AGENTS = ("lvn_embedder", "decision_gate", "regime_embedder")


def _job(output: Path) -> Job:
    return job([], overrides=Overrides(only=AGENTS, output=output))


def _shipped(output: Path) -> None:
    store = Store(output / "store")
    for name in AGENTS:
        made = build(agent(name), Candidate("float32", NativeOptions()), store)
        ship(made, output / "artifacts" / name, name, {})


@pytest.mark.slow
def test_shipped_agents_hold_less_than_half_of_their_originals_and_answer_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residence, "PROCESSES", 1)
    _shipped(tmp_path)
    found = benchmark_residence(_job(tmp_path))
    assert {served.name for served in found.agents} == set(AGENTS)
    assert {served.engine for served in found.agents} == {"native"}
    assert found.different == ()
    assert all(0 <= served.error < 1e-5 for served in found.agents)
    assert found.saved >= 0.6, f"{found.shipped.rss_mb:.0f} MB beside {found.eager.rss_mb:.0f} MB"
    assert found.shipped.uss_mb <= found.shipped.pss_mb <= found.shipped.rss_mb


def test_an_agent_that_was_not_shipped_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no artifact of decision_gate; run `grandopt optimize` first"):
        benchmark_residence(job([], overrides=Overrides(only=("decision_gate",), output=tmp_path)))
