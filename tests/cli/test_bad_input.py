"""Bad input: one line, exit 2, and nothing of the user's is touched."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.cli.app import main
from tests.agents import Actor
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Touch, Weights
from tests.cli.conftest import Grandopt, assert_one_error_line

Case = Callable[[Path], tuple[list[str], str]]
"""Makes files in an empty folder; returns the command line and what its error line must say."""

ACTOR = ("--network", "tests.agents:Actor", "--input", "state=7")


def _sb3(path: Path) -> Path:
    made = Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    return zips.write_zip(path, zips.ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors)


def _actor(path: Path, **changes: Any) -> Path:
    torch.manual_seed(1)
    torch.save(Actor().state_dict() | changes, path)
    return path


def missing_file(folder: Path) -> tuple[list[str], str]:
    return ["nowhere.zip"], "nowhere.zip: no such file"


def directory(folder: Path) -> tuple[list[str], str]:
    (folder / "models").mkdir()
    return ["models"], "models: is a folder that holds no checkpoint; name one that does, or a file"


def empty_file(folder: Path) -> tuple[list[str], str]:
    (folder / "agent.pth").touch()
    return ["agent.pth"], "agent.pth: is empty (0 bytes)"


def truncated_zip(folder: Path) -> tuple[list[str], str]:
    whole = _sb3(folder / "whole.zip").read_bytes()
    (folder / "agent.zip").write_bytes(whole[: len(whole) // 2])
    return ["agent.zip"], "agent.zip: the zip archive is truncated or damaged"


def escaping_zip(folder: Path) -> tuple[list[str], str]:
    with zipfile.ZipFile(_sb3(folder / "agent.zip"), "a") as archive:
        archive.writestr("../x", "out")
    return ["agent.zip"], "'../x' leads out of the archive"


def unfitting_weights(folder: Path) -> tuple[list[str], str]:
    torch.save(
        {"net.0.weight": torch.zeros(256, 9), "net.0.bias": torch.zeros(256), "more": torch.zeros(1)},
        folder / "agent.pth",
    )
    return ["agent.pth", *ACTOR], (
        "10 missing (first 'net.1.weight' [256]); 1 unexpected (first 'more' [1]); "
        "1 of another shape (first 'net.0.weight': file [256, 9], network [256, 7])"
    )


def unknown_profile(folder: Path) -> tuple[list[str], str]:
    return ["--profile", "agressive"], "unknown profile 'agressive' (did you mean 'aggressive'?)"


def unknown_agent(folder: Path) -> tuple[list[str], str]:
    return ["--agent", "decision_gat"], "unknown agent 'decision_gat' (did you mean 'decision_gate'?)"


def unknown_field(folder: Path) -> tuple[list[str], str]:
    (folder / "grandopt.yaml").write_text("profile: basic\nagents:\n  gate: {checkpont: gate.pt}\n")
    return [], "grandopt.yaml:3: agents.gate.checkpont: unknown field (did you mean 'checkpoint'?)"


def wrong_shape(folder: Path) -> tuple[list[str], str]:
    _actor(folder / "agent.pth")
    command = ["agent.pth", "--network", "tests.agents:Actor", "--input", "state=8"]
    return command, "the network does not take state [2, 8]: RuntimeError: mat1 and mat2 shapes"


def wrong_shape_of_an_archive(folder: Path) -> tuple[list[str], str]:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(2, 3)), folder / "agent.pt")
    return ["agent.pt", "--input", "state=4"], "does not take state [2, 4]"


def nan_weights(folder: Path) -> tuple[list[str], str]:
    _actor(folder / "agent.pth", **{"net.4.bias": torch.full((256,), torch.nan)})
    return ["agent.pth", *ACTOR], "tensor 'net.4.bias' [256] holds 256 NaN and 0 inf"


def wrong_samples(folder: Path) -> tuple[list[str], str]:
    np.savez(folder / "seen.npz", state=np.zeros((10, 6), np.float32))
    _actor(folder / "agent.pth")
    command = ["agent.pth", *ACTOR, "--samples", "seen.npz"]
    return command, "seen.npz: state: expected shape [N, 7], got [10, 6]"


def output_below_a_file(folder: Path) -> tuple[list[str], str]:
    (folder / "results").write_text("mine")
    command = ["--agent", "decision_gate", "--output", "results"]
    return command, "results/artifacts: cannot be written (Not a directory); choose another folder"


def output_that_the_system_refuses(folder: Path) -> tuple[list[str], str]:
    return ["--agent", "decision_gate", "--output", "/proc/1"], "/proc/1/artifacts: cannot be written ("


def pickle_that_runs_code(folder: Path) -> tuple[list[str], str]:
    torch.save({"weight": torch.zeros(2), "more": Touch(folder / "ran")}, folder / "agent.pth")
    return ["agent.pth", *ACTOR], "--trust"


def foreign_files(folder: Path) -> tuple[list[str], str]:
    (folder / "artifacts" / "agent").mkdir(parents=True)
    (folder / "artifacts" / "agent" / "thesis.tex").write_text("mine")
    return [_sb3(folder / "agent.zip").name], "artifacts/agent: holds something else"


def file_in_the_place_of_an_artifact(folder: Path) -> tuple[list[str], str]:
    (folder / "artifacts" / "agent").write_text("mine")
    return [_sb3(folder / "agent.zip").name], "artifacts/agent: is a file; an artifact is a folder"


CASES: list[Case] = [
    missing_file,
    directory,
    empty_file,
    truncated_zip,
    escaping_zip,
    unfitting_weights,
    unknown_profile,
    unknown_agent,
    unknown_field,
    wrong_shape,
    wrong_shape_of_an_archive,
    nan_weights,
    wrong_samples,
    output_below_a_file,
    output_that_the_system_refuses,
    pickle_that_runs_code,
    foreign_files,
    file_in_the_place_of_an_artifact,
]


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _prepared(case: Case, folder: Path) -> tuple[list[str], str]:
    """The case, beside an earlier report and artifact of the user's."""
    (folder / "reports").mkdir()
    (folder / "reports" / "optimization_report.json").write_text("an earlier report")
    (folder / "reports" / "optimization.log").write_text("an earlier log")
    (folder / "artifacts" / "old").mkdir(parents=True)
    (folder / "artifacts" / "old" / "manifest.json").write_text("an earlier artifact")
    return case(folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_line_and_changes_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words, said = _prepared(case, tmp_path)
    before = _contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["optimize", *words]) == 2
    out, err = capfd.readouterr()  # of the whole process, libraries in C++ included
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert _contents(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_line_in_a_process_of_its_own(
    case: Case, tmp_path: Path, grandopt: Grandopt
) -> None:
    words, said = _prepared(case, tmp_path)
    before = _contents(tmp_path)
    result = grandopt("optimize", *words, PYTHONPATH=str(Path(__file__).parents[2]))
    assert result.returncode == 2
    assert_one_error_line(result)
    assert said in result.stderr
    assert _contents(tmp_path) == before


@pytest.mark.slow
def test_the_placeholder_of_the_trading_system_is_refused(
    shared_checkpoints: Path, tmp_path: Path, grandopt: Grandopt
) -> None:
    path = shared_checkpoints / "grandmodel" / "decision_gate_placeholder.pth"
    result = grandopt("optimize", path)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert "is a pickle that holds no tensors, so it is no agent" in result.stderr
    assert "it would need --trust to be unpickled" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_pickle_of_this_test_would_have_run(tmp_path: Path) -> None:
    pickle_that_runs_code(tmp_path)
    torch.load(tmp_path / "agent.pth", weights_only=False)
    assert (tmp_path / "ran").exists()
