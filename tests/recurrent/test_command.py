"""`grandopt` with a recurrent agent, from its configuration file to a session of what was shipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import grandopt
from grandopt.artifacts.artifact import read
from grandopt.artifacts.store import Store
from grandopt.cli.app import main
from grandopt.compiler.build import Candidate, build
from grandopt.runtime.loader import load
from grandopt.signature import Contract, StateTensor
from grandopt.workflows.exporting.c_library import export_c
from tests.native.conftest import BEST
from tests.recurrent.networks import (
    HIDDEN,
    OBSERVED,
    GruCellPolicy,
    LstmPolicy,
    made,
    observations,
    program,
    whole,
)
from tests.workflows import command

FILE = f"""\
trials: 1
agents:
  lstm:
    checkpoint: lstm.pth
    network: tests.recurrent.networks:LstmPolicy
    inputs:
      - {{name: obs, shape: [{OBSERVED}]}}
      - {{name: h, shape: [2, {HIDDEN}]}}
      - {{name: c, shape: [2, {HIDDEN}]}}
    outputs: [action, h_next, c_next]
    state:
      h: {{output: h_next, batch_axis: 1}}
      c: {{output: c_next, batch_axis: 1}}
    samples: samples.npz
"""


@pytest.mark.slow
def test_a_recurrent_agent_is_optimized_and_stepped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path(__file__).resolve().parents[2]))
    torch.save(made(LstmPolicy).state_dict(), tmp_path / "lstm.pth")
    np.savez(tmp_path / "samples.npz", obs=observations(100, 1)[:, 0])
    (tmp_path / "grandopt.yaml").write_text(FILE)
    quickly = ("--engine", "native", "--precision", "float32", "--budget", "120")
    done = command.run(tmp_path, "optimize", *quickly, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    (agent,) = command.report(tmp_path).agents
    assert agent.status == "optimized"
    assert agent.contract is not None
    assert [tensor["output"] for tensor in agent.contract["state"]] == ["h_next", "c_next"]
    place = tmp_path / "artifacts" / "lstm"
    evidence = read(place).manifest.evidence["verification"]
    assert evidence["steps"] == 60 + 256
    assert {item["name"] for item in evidence["outputs"]} == {"action", "h_next", "c_next"}
    observed = observations(60, 1, seed=4)
    session = grandopt.load(place).session()
    stepped = np.stack([session(row) for row in observed])
    np.testing.assert_allclose(stepped, whole(LstmPolicy, observed), rtol=0, atol=2e-6)


def test_a_wrong_state_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(made(LstmPolicy).state_dict(), tmp_path / "lstm.pth")
    (tmp_path / "grandopt.yaml").write_text(FILE.replace("batch_axis: 1", "batch_axis: 0"))
    assert main(["optimize"]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "lstm: " in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("kind", [pytest.param(LstmPolicy, marks=pytest.mark.slow), GruCellPolicy])
def test_the_exported_examples_keep_the_state(tmp_path: Path, kind: type[torch.nn.Module]) -> None:
    of = program(kind)
    if kind is GruCellPolicy:  # one that does not begin with zeros
        of = of.but(contract=Contract(state=(StateTensor("h", "h_next", 0.25),)))
    artifact = build(of, Candidate("float32", BEST), Store(tmp_path / "store"))
    folder = tmp_path / "c"
    export_c(artifact.path, folder)
    header = (folder / f"{of.name}.h").read_text()
    assert "Recurrent state, kept by the caller" in header
    done = subprocess.run(["make", "-C", folder], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    observed = observations(7, 1)
    session = load(artifact.path).session()
    wanted = np.concatenate([session(row).reshape(-1) for row in observed])
    text = " ".join(f"{number:.9g}" for number in observed.reshape(-1))
    for example in ("example_c", "example_cpp"):
        done = subprocess.run(
            [folder / example], input=text, capture_output=True, text=True, timeout=20, check=True
        )
        np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32), wanted)
        short = subprocess.run(
            [folder / example], input="1 2", capture_output=True, text=True, timeout=20, check=False
        )
        assert short.returncode == 1
