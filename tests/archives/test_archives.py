"""Every file of the shared `archives.py` is optimized with equal answers, or refused with its true cause."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import grandopt
from grandopt.cli.app import main
from grandopt.compiler.build import impossible
from grandopt.compiler.candidates import Candidate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.program import evaluate
from grandopt.config.engines import NativeOptions
from grandopt.config.schema import AgentConfig
from tests.archives.cases import ELSEWHERE, LAID_OPEN, OPTIMIZED, REFUSED, Case
from tests.workflows import command

SCRIPT = Path(__file__).parents[3] / "shared" / "cases" / "archives.py"
PARTS = 3
"""Of the files that are optimized; the slow tests take one of them."""
WORDS = ("--profile", "basic", "--engine", "native", "--precision", "float32", "--json", "-q")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, made once; skips where the script is not."""
    if not SCRIPT.is_file():
        pytest.skip(f"needs {SCRIPT}")
    folder = tmp_path_factory.mktemp("archives")
    subprocess.run([sys.executable, "-W", "ignore", SCRIPT, folder], check=True, capture_output=True)
    return folder


def by_turns(cases: dict[str, Case]) -> list[Any]:
    """One is fast, the next is slow."""
    return [pytest.param(name, marks=pytest.mark.slow if n % 2 else ()) for n, name in enumerate(cases)]


def job(folder: Path, files: Path, cases: dict[str, Case]) -> Path:
    agents = {name: case.settings(str(files)) for name, case in cases.items()}
    shutil.copyfile(Path(__file__).parent / "layers.py", folder / "layers.py")
    path = folder / "grandopt.yaml"
    path.write_text(yaml.safe_dump({"agents": agents}, sort_keys=False))
    return path


@pytest.mark.slow
def test_every_file_of_the_script_has_its_end_here(files: Path) -> None:
    told = {case.file for case in [*REFUSED.values(), *LAID_OPEN.values(), *OPTIMIZED.values()]}
    assert {path.name for path in files.iterdir()} - told == {
        "ts_cuda_constant.pt",
        "compiled_prefix.pt",
        "dataparallel_prefix.pt",
    }
    assert {"ts_cuda_constant", "compiled_prefix"} == ELSEWHERE


@pytest.mark.parametrize("name", by_turns(REFUSED))
def test_it_is_refused_with_its_true_cause(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    path = job(tmp_path, files, {name: REFUSED[name]})
    code = main(["optimize", "--config", str(path), "--output", str(tmp_path / "out"), *WORDS])
    printed = capfd.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert code == 2, line
    assert re.search(REFUSED[name].refused, line), line
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", by_turns(OPTIMIZED))
def test_it_is_captured_and_computes_what_the_archive_does(
    files: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    case = OPTIMIZED[name]
    agent = AgentConfig.model_validate(case.settings(str(files)))
    program = capture(detect.load(name, agent))
    native = Candidate("float32", NativeOptions())
    assert impossible(program, native) is None or not case.native, program.refusals
    if program.exported is None:
        return
    inputs = [torch.from_numpy(array) for array in case.observations(5)]
    wanted = evaluate(program.module, inputs)
    for left, right in zip(wanted, evaluate(program.exported.module(), inputs), strict=True):
        torch.testing.assert_close(right, left, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", by_turns(LAID_OPEN))
def test_it_is_laid_open_and_captured(files: Path, name: str) -> None:
    case = LAID_OPEN[name]
    program = capture(detect.load(name, AgentConfig.model_validate(case.settings(str(files)))))
    native = Candidate("float32", NativeOptions())
    assert (impossible(program, native) is None) == case.native, program.refusals


def original(case: Case, files: Path) -> Any:
    if case.more.get("network"):
        agent = AgentConfig.model_validate(case.settings(str(files)))
        return detect.load("original", agent).module
    module = torch.jit.load(files / case.file, map_location="cpu").eval()
    if case.file == "ts_bfloat16.pt":  # NumPy has none: the agent takes and gives float32
        return lambda x: module(x.bfloat16()).float()
    return module


def answers(policy: Any, case: Case) -> Iterator[tuple[torch.Tensor, ...]]:
    """What it gives for each of three batches, as tensors."""
    for count in (1, 2, 33):
        found = policy(*(torch.from_numpy(array) for array in case.observations(count)))
        yield tuple(found) if isinstance(found, tuple | list) else (found,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.stress) for part in range(1, PARTS))]
)
def test_all_others_are_optimized_with_equal_answers_in_one_document(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    cases = dict(list(OPTIMIZED.items())[part::PARTS])
    path = job(tmp_path, files, cases)
    done = command.run(tmp_path, "optimize", "--config", path, *WORDS)
    agents = {agent["name"]: agent for agent in json.loads(done.stdout)["agents"]}
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(agents) == list(cases)
    for name, case in cases.items():
        status, label = agents[name]["status"], agents[name]["shipped"]["label"]
        assert status == "optimized" or not case.native, (name, agents[name]["reason"])
        assert label.startswith("native") or status == "original kept", name
        policy = grandopt.load(tmp_path / "artifacts" / name, trust=True)
        with torch.inference_mode():
            pairs = zip(answers(policy, case), answers(original(case, files), case), strict=True)
            for got, wanted in pairs:
                for left, right in zip(got, wanted, strict=True):
                    np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-4, atol=1e-5)
