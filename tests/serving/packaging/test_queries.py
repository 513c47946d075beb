"""Every metric and label in the shipped dashboard and rules is told by a server of all kinds of agents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grandopt.artifacts.artifact import write
from grandopt.config.cache import CacheConfig
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import Origin, Version
from grandopt.runtime.monitoring.alerts import Rule
from grandopt.runtime.monitoring.monitor import Monitor
from grandopt.runtime.monitoring.reference import EVIDENCE, Reference
from grandopt.serving.dashboard.scrape import Scrape
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.repository.repository import Repository
from grandopt.signature import Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line
from tests.runtime.engine.test_flows import adding
from tests.serving.agents import answered, asking, serve
from tests.serving.dashboard.test_state import BARE
from tests.serving.packaging.queries import (
    OF_PROMETHEUS,
    TRITONS,
    Used,
    dashboard,
    dashboard_queries,
    rule_queries,
    used,
)

SCORES = Signature((TensorSpec("x", (4,)),), (TensorSpec("y", (4,), role="scores"),))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric that a server tells of."""
    text = asyncio.run(_scraped(tmp_path_factory.mktemp("repository")))
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name
            labels.setdefault(name, set()).update(sample.labels)
    return labels


async def _scraped(folder: Path) -> str:
    monitor = Monitor(rules=[Rule("some memory", "resident", 1.0)])
    engine = Engine(monitor=monitor)
    await engine.initialize("standard", adaptation=False, memory=False)
    async with engine:
        repository = Repository(folder, engine, mode="explicit")
        await repository.start()
        plane = DataPlane(engine, repository)
        rng = np.random.default_rng(0)
        serve(repository, "scores", _with_reference(folder / "scores", rng))
        serve(repository, "kept", line(), cache=CacheConfig(must_pay=False))
        serve(repository, "adding", adding())
        for _ in range(500):
            await answered(plane, asking("scores", x=rng.standard_normal((64, 4)).astype(np.float32)))
            (margins,) = monitor.look().agents["scores"].margins or ()
            if margins.share is not None:
                break
        for _ in range(3):
            await answered(plane, asking("kept", x=np.ones((1, 4), np.float32)))
        late = asking("scores", x=np.ones((300, 4), np.float32))._replace(parameters={"timeout": 1})
        with pytest.raises(Exception, match="deadline"):
            await answered(plane, late)
        await engine.session("adding", "one").infer(np.ones(2, np.float32))
        monitor.look()
        return await Scrape(plane).text()


def _with_reference(folder: Path, rng: np.random.Generator) -> Version:
    """An agent with scores, whose artifact says how its inputs usually are."""
    samples = rng.standard_normal((500, 4)).astype(np.float32)
    known = Reference.of_samples(SCORES.inputs, [samples]).to_json()
    signature = {
        "inputs": [{"name": "x", "shape": [4], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [4], "dtype": "float32", "role": "scores"}],
    }
    bare = replace(BARE, signature=signature, evidence={EVIDENCE: known})
    manifest = write(folder, bare, {"agent.so": b"code"}).manifest
    executor = FakeExecutor(SCORES, lambda inputs: (inputs[0],))
    return Version(executor, Origin("native", manifest.digest, folder), owned=False)


def unknown(query: Used, told: dict[str, set[str]]) -> list[str]:
    """What a query asks for that is not told."""
    missing = [name for name in query.metrics if name not in told]
    known: set[str] = set().union(*(told.get(name, set()) for name in query.metrics), OF_PROMETHEUS)
    for name, labels in query.metrics.items():
        missing += [f"{name}{{{label}}}" for label in labels - told.get(name, set()) - OF_PROMETHEUS]
    return missing + [f"by {label}" for label in query.grouped - known]


@pytest.mark.parametrize("kind", ["dashboard", "rules", "Triton's"])
def test_every_query_has_an_answer(kind: str, told: dict[str, set[str]]) -> None:
    queries = {"dashboard": dashboard_queries, "rules": rule_queries, "Triton's": lambda: TRITONS}[kind]()
    assert len(queries) >= 5
    for query in queries:
        found = used(query)
        assert found.metrics, query
        assert unknown(found, told) == [], query


def test_a_wrong_query_is_seen(told: dict[str, set[str]]) -> None:
    assert unknown(used("rate(grandopt_requests[5m])"), told) == ["grandopt_requests"]
    assert unknown(used('grandopt_queue_rows{model="x"}'), told) == ["grandopt_queue_rows{model}"]
    assert unknown(used("sum by (level) (grandopt_queue_rows)"), told) == ["by level"]


def test_the_dashboard_is_laid_out() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == {
        "datasource",
        "instance",
        "agent",
    }
