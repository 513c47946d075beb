"""The usage that DESIGN section 7 shows, as it stands there."""

from __future__ import annotations

import ast
import asyncio
import builtins
import re
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pytest

import grandopt
from grandopt.tuning.configuration.figures import ServingFigures
from tests.small_agents import EXAMPLES, Policy

USAGE = """
import grandopt
result = grandopt.optimize(model, example_input, name="gate", profile="aggressive")
policy = grandopt.load("artifacts/gate")        # no torch needed
action = policy(observation)                    # ndarray in, ndarray out (a tensor in, a tensor out)
policy.run_into((observation,), (out,))         # no allocation

engine = grandopt.IntegratedPerformanceEngine()            # also `async with`
await engine.initialize("aggressive")
model = engine.optimize_model(model, "my_model", example_input)
engine.load("artifacts/gate")                               # name= the folder's, unless given
action = await engine.infer("gate", observation, priority="high", deadline_s=0.001)
action = engine.infer_now("gate", observation)              # synchronous, on the caller's thread
results = await engine.batch_inference("my_model", batch)
async for action in engine.stream("gate", source): ...      # in order, bounded window
engine.create_model_pipeline("decide", graph)
engine.get_comprehensive_stats(); engine.get_optimization_recommendations(); model.get_stats()
await engine.shutdown()
best = grandopt.ConfigurationManager().optimize_configuration(evaluator=f, goal=grandopt.OptimizationGoal.MAXIMIZE_THROUGHPUT)
"""  # noqa: E501 - as it stands there


def compiled(source: str) -> CodeType:
    """Code with `await` at its top level."""
    return compile(source, "<usage>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_it_is_what_the_design_says() -> None:
    compiled(USAGE)
    design = Path(__file__).resolve().parents[3] / "shared" / "DESIGN.md"
    if not design.is_file():
        pytest.skip("skipped: ../shared/DESIGN.md not found")
    found = re.search(r"## 7\. Python\n```python\n(.*?)```", design.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert found[1] == USAGE.removeprefix("\n")


@pytest.mark.slow
def test_the_usage_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = Policy().eval()
    row = np.linspace(-1, 1, 8, dtype=np.float32)
    names: dict[str, Any] = {
        "__builtins__": builtins,
        "model": network,
        "example_input": EXAMPLES[Policy],
        "observation": row,
        "out": np.empty(3, np.float32),
        "batch": np.stack([row, -row]),
        "source": [row] * 5,
        "graph": {"decision": {"agent": "gate"}},
        "f": lambda configuration: ServingFigures(
            throughput=1000.0 + configuration.get("batch_limit", 1) % 7
        ),
    }

    async def run() -> None:
        await FunctionType(compiled(USAGE), names)()

    asyncio.run(run())
    np.testing.assert_allclose(
        names["action"], grandopt.load(tmp_path / "artifacts" / "gate")(row), rtol=1e-5
    )
    np.testing.assert_allclose(names["out"], names["action"], rtol=1e-5)
    assert names["results"].shape == (2, 3)
    assert names["model"].get_stats().status in ("optimizing", "original kept", "taken over")
    assert names["best"].best
