"""What a process pays that loads and calls a native artifact, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import Artifact, stored_name, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
from tests.native.conftest import BEST
from tests.small_agents import Policy, draw, expected, program

HEAVY = {"torch", "pydantic", "importlib.metadata", "numpy.random", "numpy.testing", "numpy.ma", "numpy.fft"}

# `numpy` or `array` says what the caller passes.
RUN = """
import json, sys
import grandopt
policy = grandopt.load(sys.argv[1])
inputs, given = json.loads(sys.argv[2]), sys.argv[3]
if given == "numpy":
    import numpy as np
    outputs = policy(np.array(inputs, np.float32)).tolist()
else:
    from array import array
    memory = array("f", bytes(12))
    policy.run_into((memoryview(array("f", inputs)),), [memory])
    outputs = memory.tolist()
held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
json.dump({"outputs": outputs, "modules": sorted(sys.modules), "held": held}, sys.stdout)
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return build(program(Policy), Candidate("float32", BEST), Store(tmp_path / "store"))


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="the kernel does not tell a process's memory"
)
@pytest.mark.parametrize(("given", "most_mb"), [("numpy", 40), ("array", 24)])
def test_nothing_heavy_is_imported_and_little_is_held(artifact: Artifact, given: str, most_mb: int) -> None:
    inputs = draw(program(Policy), 1)
    done = subprocess.run(
        [sys.executable, "-c", RUN, artifact.path, json.dumps(inputs[0][0].tolist()), given],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["outputs"] == pytest.approx(expected(program(Policy), inputs)[0][0].tolist(), abs=1e-6)
    assert not HEAVY & set(facts["modules"])
    assert ("numpy" in facts["modules"]) == (given == "numpy")
    assert facts["held"] < most_mb * 1024


def test_only_what_is_used_is_checked_at_load(tmp_path: Path, artifact: Artifact) -> None:
    """A damaged source is found by `verify`; a damaged library or binding by loading."""
    for number, (name, used) in enumerate(
        [("source.zip", False), ("binding.abi3.so", True), (f"agent.{BEST.levels[0]}.so", True)]
    ):
        copy = write(tmp_path / str(number), artifact.manifest, artifact.payloads())
        path = copy.path / stored_name(copy.entry(name))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="damaged: SHA-256"):
            copy.verify()
        if used:
            with pytest.raises(ArtifactError, match="damaged: SHA-256"):
                load(copy.path)
        else:
            load(copy.path)


def test_a_path_that_is_no_text(tmp_path: Path, artifact: Artifact) -> None:
    folder = tmp_path / os.fsdecode(b"agent-\xff")
    write(folder, artifact.manifest, artifact.payloads())
    inputs = draw(program(Policy), 2)
    assert load(folder).run(inputs)[0].shape == (2, 3)
