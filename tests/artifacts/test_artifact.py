"""Reading an artifact: what is intact opens, everything else is one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grandopt.artifacts.artifact import read, stored_name, write
from grandopt.artifacts.manifest import Manifest
from grandopt.errors import ArtifactError

FILES = {"program.pt2": b"weights", "notes.txt": b"x" * 1000}


@pytest.fixture
def folder(tmp_path: Path, manifest: Manifest) -> Path:
    return write(tmp_path / "gate", manifest, FILES).path


def test_what_was_written_is_read(folder: Path, manifest: Manifest) -> None:
    artifact = read(folder)
    assert artifact == read(folder / "manifest.json")
    assert artifact.payloads() == FILES
    assert artifact.payload_path("program.pt2").read_bytes() == FILES["program.pt2"]
    assert replace(artifact.manifest, payload=()).digest == manifest.digest
    assert [entry.size for entry in artifact.manifest.payload] == [7, 1000]


def _change(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(format_version=3), "format version 3, this grandopt reads versions 1"),
        (lambda data: data.pop("format_version"), "states no format_version"),
        (lambda data: data.update(format_version=True), "format version True"),
        (lambda data: data.pop("engine"), "field engine: is missing"),
        (lambda data: data.update(speed="high"), "field speed: is unknown; known are format_version, name"),
        (lambda data: data.update(threads=0), "field threads: must be at least 1, is 0"),
        (lambda data: data.update(threads=True), "field threads: must be a whole number, is True"),
        (lambda data: data.update(threads="1"), "field threads: must be a whole number, is '1'"),
        (lambda data: data.update(name=None), "field name: must be a string, is None"),
        (lambda data: data.update(options=[]), "field options: must be an object, is \\[\\]"),
        (lambda data: data.update(passes="fold"), "field passes: must be a list, is 'fold'"),
        (lambda data: data.update(cpu_features=["avx2", 5]), "field cpu_features.1: must be a string, is 5"),
        (lambda data: data.update(requires={"torch": 2}), "field requires.torch: must be a string, is 2"),
        (lambda data: data.update(trusted_only=1), "field trusted_only: must be true or false, is 1"),
        (lambda data: data.update(source=[]), "source: must be an object, is \\[\\]"),
        (
            lambda data: data["source"].update(weights="x" * 99),
            r"source: field weights: must be one of file, .*…",
        ),
        (lambda data: data["source"].pop("format"), "source: field format: is missing"),
        (lambda data: data["payload"].append(7), "payload.2: must be an object, is 7"),
        (lambda data: data["payload"][0].update(name="../../etc/passwd"), "not a plain file name"),
        (lambda data: data["payload"][0].update(sha256="../x"), "not a plain file name with a digest"),
        (lambda data: data["payload"][0].update(size=-1), "payload.0: field size: must be at least 0, is -1"),
    ],
)
def test_a_wrong_manifest_names_the_field(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _change(folder, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a manifest"):
        read(folder)


def test_missing_and_half_written(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="no such artifact"):
        read(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="an artifact is a folder"):
        read(folder / stored_name(read(folder).manifest.payload[0]))
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"only half of one: it has no manifest\.json"):
        read(folder)


def test_a_changed_payload_is_refused_before_anything_opens_it(folder: Path) -> None:
    artifact = read(folder)
    path = artifact.payload_path("program.pt2")
    path.write_bytes(b"weighty")
    with pytest.raises(ArtifactError, match="damaged: SHA-256"):
        artifact.payload("program.pt2")
    with pytest.raises(ArtifactError, match="damaged: SHA-256"):
        artifact.payload_path("program.pt2")
    path.write_bytes(b"weight")
    with pytest.raises(ArtifactError, match="damaged: 6 bytes where the manifest says 7"):
        artifact.payloads()
    path.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifact.payload("program.pt2")
    assert artifact.payload("notes.txt") == FILES["notes.txt"]


def test_an_unknown_payload_is_named(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no payload 'x'; it has program\.pt2, notes\.txt"):
        read(folder).payload("x")


@pytest.mark.parametrize("levels", [101, 400, 2_000, 100_000])
def test_a_manifest_that_is_nested_too_deep(folder: Path, levels: int) -> None:
    file = folder / "manifest.json"
    data = json.loads(file.read_text())
    data["options"] = "here"
    file.write_text(json.dumps(data).replace('"here"', '{"flags": ' + "[" * levels + "]" * levels + "}"))
    with pytest.raises(ArtifactError, match="is nested more than 100 levels deep"):
        read(folder)
