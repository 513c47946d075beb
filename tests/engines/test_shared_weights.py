"""Weights are there once: a file's pages for several processes, an engine's packing for equal artifacts."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.config.engines import EngineOptions, NativeOptions, OnnxRuntimeOptions, OpenVinoOptions
from grandopt.runtime.executors import shared
from grandopt.runtime.loader import load
from tests.engines.conftest import agent, need

ROOT = Path(__file__).resolve().parents[2]
NAME = "structure_embedder"  # 2.4 MB of weights

# Holds one artifact, or copies of it, and answers with the memory of the files that it mapped from them.
HOLDING = """
import json, sys
import numpy as np
import grandopt
policies = [grandopt.load(path) for path in sys.argv[1:]]
for policy in policies:
    policy(*[np.zeros(spec.shape, spec.dtype) for spec in policy.signature.inputs])
print("loaded", flush=True)
sys.stdin.readline()
found, private = {}, 0
for line in open("/proc/self/smaps"):
    words = line.split()
    if not words[0].endswith(":"):
        ours = "/agent." in words[-1] or "/graph-" in words[-1]
        current = found.setdefault(words[-1], {}) if ours else None
    elif words[0] in ("Rss:", "Pss:", "Private_Dirty:", "Shared_Clean:"):
        if words[0] == "Private_Dirty:":
            private += int(words[1])
        if current is not None:
            current[words[0][:-1]] = current.get(words[0][:-1], 0) + int(words[1])
print(json.dumps({"files": found, "private": private}), flush=True)
"""

ENGINES = [
    pytest.param(NativeOptions(), id="native"),
    pytest.param(OnnxRuntimeOptions(), id="onnxruntime"),
    pytest.param(OpenVinoOptions(snippets=False), id="openvino"),
]


def _built(options: EngineOptions, store: Store, name: str = NAME) -> Artifact:
    need(options.engine)
    return build(agent(name), Candidate("float32", options), store)


def _copies(artifact: Artifact, folder: Path, count: int) -> list[str]:
    return [
        str(write(folder / str(number), artifact.manifest, artifact.payloads()).path)
        for number in range(count)
    ]


def _held(*processes: list[str]) -> list[dict[str, object]]:
    """What each process holds while all of them live, loaded one after the other."""
    with ExitStack() as stack:
        running = []
        for paths in processes:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDING, *paths],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    text=True,
                )
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "loaded\n"
            running.append(process)
        return [json.loads(process.communicate("\n", timeout=60)[0]) for process in running]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="skipped: Linux alone tells what is shared")
def test_processes_share_the_pages_of_native_weights(store: Store) -> None:
    artifact = _built(NativeOptions(), store)
    path = str(artifact.path)
    # The first is alone, so it is not asked; the second is asked while the first lives.
    first, second = _held([path], [path])
    for process in (second, first):
        (library,) = process["files"].values()  # type: ignore[attr-defined]
        assert library["Rss"] > 2000
        assert library["Private_Dirty"] < 50, "weights were copied or relocated"
    (library,) = first["files"].values()  # type: ignore[attr-defined]
    assert library["Shared_Clean"] > 0.9 * library["Rss"]
    assert library["Pss"] < 0.6 * library["Rss"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="skipped: Linux alone tells what is shared")
@pytest.mark.parametrize("options", ENGINES[:2])  # OpenVINO numbers a graph's nodes by what it made before
def test_agents_of_other_names_take_the_memory_of_one(store: Store, options: EngineOptions) -> None:
    need(options.engine)
    left, right = (
        build(agent(NAME).but(name=name), Candidate("float32", options), store) for name in ("left", "right")
    )
    (one,) = _held([str(left.path)])
    (two,) = _held([str(left.path), str(right.path)])
    weights = max(entry.size for entry in left.manifest.payload) / 1024
    assert two["private"] - one["private"] < 0.5 * weights  # type: ignore[operator]
    mapped = [sum(file.get("Rss", 0) for file in side["files"].values()) for side in (one, two)]  # type: ignore[attr-defined]
    assert mapped[1] - mapped[0] < 0.1 * weights


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="skipped: Linux alone tells what is shared")
@pytest.mark.parametrize("options", ENGINES)
def test_copies_of_an_artifact_take_the_memory_of_one(
    store: Store, options: EngineOptions, tmp_path: Path
) -> None:
    artifact = _built(options, store)
    copies = _copies(artifact, tmp_path, 4)
    (one,) = _held(copies[:1])
    (four,) = _held(copies)
    weights = max(entry.size for entry in artifact.manifest.payload) / 1024
    assert four["private"] - one["private"] < 0.5 * weights  # type: ignore[operator]
    mapped = [sum(file.get("Rss", 0) for file in side["files"].values()) for side in (one, four)]  # type: ignore[attr-defined]
    assert mapped[1] - mapped[0] < 0.1 * weights


@pytest.mark.parametrize("options", ENGINES)
def test_equal_payloads_share_one_engine_and_answer_alike(
    store: Store, options: EngineOptions, tmp_path: Path
) -> None:
    artifact = _built(options, store, "decision_gate")
    gc.collect()
    before = len(shared._living)
    first, second = (load(path) for path in _copies(artifact, tmp_path, 2))
    assert len(shared._living) == before + 1
    observation = np.random.default_rng(0).normal(size=(3, 152)).astype(np.float32)
    (expected,) = first.run([observation])
    del first
    gc.collect()
    (given,) = second.run([observation])
    assert given.tobytes() == expected.tobytes()
    del second
    gc.collect()
    assert len(shared._living) == before, "what nobody uses is let go"


def test_other_options_or_threads_share_nothing(store: Store) -> None:
    artifact = _built(OnnxRuntimeOptions(), store, "decision_gate")
    assert shared.contents(artifact, 1) == shared.contents(artifact, 1)
    assert shared.contents(artifact, 1) != shared.contents(artifact, 2)
    other = original(agent("decision_gate"), store)
    assert shared.contents(artifact, 1) != shared.contents(other, 1)


def test_openvino_compiles_nothing_at_load_where_it_was_built(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from grandopt.runtime.executors import openvino as engine

    artifact = _built(OpenVinoOptions(), store, "decision_gate")
    executor = load(artifact.path)
    assert executor._shared.value.restored  # type: ignore[attr-defined]
    two = load(artifact.path, threads=2)  # what was compiled is for one thread
    assert not two._shared.value.restored  # type: ignore[attr-defined]
    # From another release of OpenVINO, or for other instructions: the graph is compiled here.
    files = artifact.payloads()
    content = files[engine.COMPILED]
    assert content.count(b";isa=") == 1
    files[engine.COMPILED] = content.replace(b";isa=Intel", b";isa=Other").replace(b";isa=AVX", b";isa=XXX")
    elsewhere = load(write(tmp_path / "elsewhere", artifact.manifest, files).path)
    assert not elsewhere._shared.value.restored  # type: ignore[attr-defined]
    observations = [np.random.default_rng(0).normal(size=(size, 152)).astype(np.float32) for size in (1, 4)]
    for observation in observations:
        answers = {one.run([observation])[0].tobytes() for one in (executor, two, elsewhere)}
        assert len(answers) == 1
