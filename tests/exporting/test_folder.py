"""What an export writes is there as a whole or not at all, and a place that will not do is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.cli.app import main
from grandopt.errors import OutputError
from grandopt.workflows.exporting.folder import put_folder, require_free
from tests.exporting.shipping import shipped
from tests.small_agents import Policy, program

FILES = {"agent.h": b"h", "src/agent.c": b"c", "src/deep/x": b"x", "z": b"z"}


def found(folder: Path) -> dict[str, bytes]:
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


@pytest.mark.parametrize("place", ["missing", "above/missing", "empty"])
def test_files_are_written_into_a_missing_or_an_empty_folder(place: str, tmp_path: Path) -> None:
    folder = tmp_path / place
    if place == "empty":
        folder.mkdir()
    require_free(folder)
    put_folder(folder, FILES)
    assert found(folder) == FILES
    assert [item.name for item in folder.parent.iterdir()] == [folder.name]


def test_the_current_folder_stays_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_folder(Path(), FILES)
    assert found(Path.cwd()) == FILES


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("method", ["write_bytes", "rename"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_half_written_stays(
    raised: BaseException, method: str, empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    if empty:
        folder.mkdir()
    right, calls = getattr(Path, method), []

    def failing(path: Path, *given: object) -> object:
        calls.append(path)
        if len(calls) == (2 if empty or method == "write_bytes" else 1):
            raise raised
        return right(path, *given)

    monkeypatch.setattr(Path, method, failing)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        put_folder(folder, FILES)
    monkeypatch.undo()
    assert [item.name for item in tmp_path.rglob("*")] == (["out"] if empty else [])


@pytest.mark.parametrize("target", ["c", "wasm", "mcu"])
def test_a_place_that_will_not_do_is_said_before_any_work(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = shipped(tmp_path, program(Policy)).path
    monkeypatch.setattr("grandopt.compiler.backends.native.translate.translate", None)
    (tmp_path / "file").write_text("")
    for place, words in (
        (tmp_path, "is not empty; choose another folder or empty this one"),
        (tmp_path / "file", "is there already and no folder; choose another name"),
        (tmp_path / "file" / "below", f"cannot be written: {tmp_path / 'file'} is no folder"),
    ):
        assert main(["export", str(artifact), str(place), "--to", target]) == 2
        assert f"{place}: {words}" in capsys.readouterr().err
