"""What the operands of `compare` are taken for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.errors import ArtifactError, ConfigError, ReportError
from grandopt.workflows.gate.baseline import save_baseline
from grandopt.workflows.gate.operands import operand, paired

SIDES = {"baseline": "old", "candidate": "new"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The output folder of a run with two agents, and something else beside them."""
    for name in ("gate", "other"):
        manifest = Manifest(
            name=name,
            engine="torchscript",
            precision="float32",
            signature={"inputs": [{"name": "state", "shape": [7]}], "outputs": []},
            source=Source(format="sb3", path="gate.zip"),
            payload=(),
            machine="x86_64",
            built_by="grandopt 0.1.0",
        )
        write(tmp_path / "run" / "artifacts" / name, manifest, {"program.pt": b"a payload"})
    (tmp_path / "run" / "artifacts" / "notes").mkdir()
    return tmp_path / "run"


def test_an_artifact_by_its_folder_or_its_manifest(run: Path) -> None:
    for place in (run / "artifacts" / "gate", run / "artifacts" / "gate" / "manifest.json"):
        found = operand(str(place))
        assert (found.kind, found.single, list(found.artifacts)) == ("artifacts", True, ["gate"])


def test_all_artifacts_of_a_folder_or_of_a_run(run: Path) -> None:
    for place in (run, run / "artifacts"):
        found = operand(str(place))
        assert (found.kind, found.single, list(found.artifacts)) == ("artifacts", False, ["gate", "other"])


def test_files_are_reports_or_checkpoints(tmp_path: Path) -> None:
    for name, kind in (("old.json", "report"), ("agent.zip", "checkpoint"), ("agent.pth", "checkpoint")):
        (tmp_path / name).touch()
        assert operand(str(tmp_path / name)).kind == kind


def _content(folder: Path) -> Path:
    (content,) = (folder / "main").glob("content-*")
    return content


def test_a_baseline_of_an_earlier_release_is_read_and_replaced(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder, agents=("gate",))
    content, file = _content(folder), folder / "main" / "baseline.json"
    (content / "artifacts").rename(folder / "main" / "artifacts")
    content.rmdir()
    document = json.loads(file.read_text())
    del document["content"]
    file.write_text(json.dumps(document))
    assert operand("main", folder).artifacts == {"gate": folder / "main" / "artifacts" / "gate"}
    save_baseline("main", run, folder=folder, replace=True)
    assert {item.name for item in (folder / "main").iterdir()} == {"baseline.json", _content(folder).name}
    assert list(operand("main", folder).artifacts) == ["gate", "other"]


def test_a_kill_at_any_moment_of_saving_leaves_the_old_baseline_or_the_new(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that writes, renames or removes is in turn the last one that is made."""
    folder = tmp_path / "baselines"

    class Killed(BaseException):
        pass

    def dying(real: Callable[..., object], left: list[int]) -> Callable[..., object]:
        def call(*args: Any, **kwargs: Any) -> object:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    seen = set()
    for moment in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        save_baseline("main", run, folder=folder, agents=("gate",))
        left = [moment]
        with monkeypatch.context() as patch:
            for owner, name in ((Path, "rename"), (Path, "mkdir"), (os, "fsync"), (shutil, "rmtree")):
                patch.setattr(owner, name, dying(getattr(owner, name), left))
            try:
                save_baseline("main", run, folder=folder, replace=True)
            except Killed:
                pass
            else:
                break
        seen.add(tuple(operand("main", folder).artifacts))
    assert seen == {("gate",), ("gate", "other")}
    assert moment > 8


def test_a_baseline_by_its_name_or_its_folder(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder, agents=("gate",))
    for text in ("main", str(folder / "main")):
        found = operand(text, folder)
        assert (found.name, found.kind, list(found.artifacts)) == (text, "artifacts", ["gate"])
        assert found.artifacts["gate"] == _content(folder) / "artifacts" / "gate"


def test_what_lies_there_goes_before_a_baseline_of_that_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    save_baseline("artifacts", run / "artifacts" / "gate", folder=tmp_path / "baselines")
    assert list(operand("artifacts", tmp_path / "baselines").artifacts) == ["gate", "other"]


def test_a_baseline_that_lost_an_artifact(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder)
    shutil.rmtree(_content(folder) / "artifacts" / "gate")
    with pytest.raises(ConfigError, match="the artifact of gate is missing; save the baseline again"):
        operand("main", folder)
    (folder / "main" / "baseline.json").write_text("{}")
    with pytest.raises(ReportError, match=r"baseline\.json: name: Field required"):
        operand("main", folder)


def test_a_name_that_is_nothing_says_which_baselines_there_are(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder)
    save_baseline("last-week", run, folder=folder)
    with pytest.raises(ConfigError, match=r"no baseline of that name \(have last-week, main\)"):
        operand("mian", folder)


def test_agents_are_paired_by_name() -> None:
    both: dict[str, object] = {"gate": 1, "other": 2}
    assert paired(both, dict(reversed(both.items())), (), SIDES) == ["gate", "other"]
    assert paired(both, {"other": 3}, ("other",), SIDES) == ["other"]
    with pytest.raises(ConfigError, match=r"^gate: not in the candidate \(new\)"):
        paired(both, {"other": 3}, (), SIDES)
    with pytest.raises(ConfigError, match=r"^gate: not in the baseline \(old\)"):
        paired({"other": 3}, both, (), SIDES)
    with pytest.raises(ConfigError, match=r"agent 'third' is in neither of the two; both have gate, other"):
        paired(both, both, ("third",), SIDES)


def test_a_baseline_whose_artifact_was_swapped(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder)
    kept = _content(folder) / "artifacts"
    shutil.rmtree(kept / "gate")
    changed = replace(read(run / "artifacts" / "other").manifest, precision="bfloat16")
    write(kept / "gate", changed, {"program.pt": b"another payload"})
    with pytest.raises(ReportError, match=r"gate: is not the artifact that was saved: its digest is"):
        operand("main", folder)


def test_only_what_was_saved_is_a_baseline(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    save_baseline("main", run, folder=folder, agents=("gate",))
    shutil.copytree(run / "artifacts" / "other", folder / "main" / "artifacts" / "other")
    assert list(operand("main", folder).artifacts) == ["gate"]


def test_an_edited_seed_is_no_way_round_the_gate(run: Path) -> None:
    manifest = run / "artifacts" / "gate" / "manifest.json"
    data = json.loads(manifest.read_text())
    data["source"]["details"] = {"seed": 7}
    manifest.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="the manifest was changed after it was written"):
        read(manifest.parent)
