"""An artifact of an engine without torch: nothing imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import EngineOptions, OnnxRuntimeOptions, OpenVinoOptions
from tests.engines.conftest import agent, need

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import json, sys
import grandopt, numpy as np
policy = grandopt.load(sys.argv[1])
for batch in (1, 3):
    result = policy(np.ones((batch, 152), np.float32))
torch = sorted(name for name in sys.modules if name.partition(".")[0] == "torch")
print(json.dumps({"sum": float(result.sum()), "torch": torch}))
"""

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\n" + RUN

ENGINES = [
    pytest.param(OnnxRuntimeOptions(), id="onnxruntime"),
    pytest.param(OpenVinoOptions(), id="openvino"),
]


def _artifact(options: EngineOptions, store: Store) -> str:
    need(options.engine)
    return str(build(agent("decision_gate"), Candidate("float32", options), store).path)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=True, timeout=120
    )


@pytest.mark.parametrize("options", ENGINES)
def test_nothing_imports_torch(store: Store, options: EngineOptions) -> None:
    done = _python("-X", "importtime", "-c", RUN, _artifact(options, store))
    facts = json.loads(done.stdout)
    assert facts["sum"] == pytest.approx(3.0, abs=1e-5)  # three rows of probabilities
    assert facts["torch"] == []
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported
    assert not {name for name in imported if name.partition(".")[0] == "torch"}


@pytest.mark.parametrize("options", ENGINES)
def test_it_runs_where_there_is_no_torch(store: Store, options: EngineOptions) -> None:
    done = _python("-c", WITHOUT_TORCH, _artifact(options, store))
    assert json.loads(done.stdout)["sum"] == pytest.approx(3.0, abs=1e-5)
    assert done.stderr == ""
