"""A folder that is one agent is read within the limits, and nothing outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grandopt import limits
from grandopt.compiler.checkpoints import detect, folder
from grandopt.compiler.checkpoints.folder import Folder
from grandopt.errors import CheckpointError


def test_its_files_are_known_by_their_names_in_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "part").write_bytes(b"12")
    (tmp_path / "config.json").write_text('{"a": 1}')
    found = Folder(tmp_path)
    assert found.names == ("config.json", "d/part")
    assert found.document("config.json") == {"a": 1}
    assert found.everything() == {"config.json": b'{"a": 1}', "d/part": b"12"}
    assert folder.size(tmp_path) == 10


def test_its_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = folder.sha256(tmp_path)
    (tmp_path / "a").write_text("2")
    assert folder.sha256(tmp_path) != before
    (tmp_path / "a").write_text("1")
    assert folder.sha256(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder.sha256(tmp_path) != before


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    inside = tmp_path / "agent"
    inside.mkdir()
    (inside / "kept").write_text("{}")
    (inside / "config.json").symlink_to(tmp_path / "secret")
    (inside / "again").symlink_to(inside / "kept")
    (inside / "all").symlink_to(tmp_path)
    found = Folder(inside)
    assert found.names == ("again", "config.json", "kept")
    assert found.content("again") == b"{}"
    for read in (found.content, found.document):
        with pytest.raises(CheckpointError, match="is a link that leads out of the folder; put a copy"):
            read("config.json")
    with pytest.raises(CheckpointError, match="leads out of the folder"):
        found.everything()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "missing", ""])
def test_only_names_in_it_are_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "agent").mkdir()
    with pytest.raises(CheckpointError, match="is missing from it"):
        Folder(tmp_path / "agent").content(name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="a pipe or a device"):
        Folder(tmp_path).content("config.json")


@pytest.mark.parametrize("text", ["", "[1", "[" * 100_000, "7", '"a"', "\udcff"])
def test_a_document_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(CheckpointError) as caught:
        Folder(tmp_path).document("config.json")
    assert str(caught.value).startswith(f"{tmp_path}/config.json: ")
    assert "\n" not in str(caught.value)


def test_too_many_files_and_too_deep_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "deep"
    (deep / "/".join("abcdefghijkl")).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="name the folder of one agent"):
        Folder(deep)
    monkeypatch.setattr(limits, "MEMBERS", 3)
    for name in "wxyz":
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match="holds more than 3 files"):
        Folder(tmp_path)


def test_all_files_together_are_held_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(60))
    monkeypatch.setattr(limits, "CHECKPOINT_BYTES", 100)
    with pytest.raises(CheckpointError, match="at most 40 are read"):
        Folder(tmp_path).everything()


def test_any_other_folder_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "agent.pth").touch()
    for read in (detect.detect, detect.describe):
        with pytest.raises(CheckpointError, match="is a folder; give the path of a checkpoint file in it"):
            read(tmp_path)
