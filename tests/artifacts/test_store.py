"""The store: found by key, one entry per key, damage is removed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.store import Store
from grandopt.errors import OutputError


def test_put_then_get(tmp_path: Path, manifest: Manifest) -> None:
    store = Store(tmp_path / "store")
    assert store.get("k1") is None
    assert not store.root.exists(), "looking for an entry writes nothing"
    put = store.put("k1", manifest, {"a.bin": b"1"})
    assert store.get("k1") == put
    assert store.get("k2") is None


def test_the_first_entry_stays(tmp_path: Path, manifest: Manifest) -> None:
    store = Store(tmp_path)
    first = store.put("k1", manifest, {"a.bin": b"1"})
    assert store.put("k1", manifest, {"a.bin": b"2"}) == first
    assert first.payload("a.bin") == b"1"


@pytest.mark.parametrize("damage", ["payload", "manifest", "missing"])
def test_a_damaged_entry_is_removed(tmp_path: Path, manifest: Manifest, damage: str) -> None:
    store = Store(tmp_path)
    artifact = store.put("k1", manifest, {"a.bin": b"1"})
    path = artifact.path / "manifest.json" if damage == "manifest" else artifact.payload_path("a.bin")
    path.unlink() if damage == "missing" else path.write_bytes(b"?")
    assert store.get("k1") is None
    assert not artifact.path.exists()
    path = store.put("k1", manifest, {"a.bin": b"3"}).payload_path("a.bin")
    path.write_bytes(b"?")
    assert store.put("k1", manifest, {"a.bin": b"4"}).payload("a.bin") == b"4"


def test_concurrent_writers_of_one_key_agree(tmp_path: Path, manifest: Manifest) -> None:
    artifacts: list[Artifact] = []

    def put(number: int) -> None:
        artifacts.append(Store(tmp_path).put("k1", manifest, {"a.bin": bytes([number])}))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(artifacts) == 8
    assert len({artifact.payload("a.bin") for artifact in artifacts}) == 1


def test_a_store_that_cannot_be_used(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the store cannot be used"):
        Store(tmp_path / "file").put("k1", manifest, {"a.bin": b"1"})
    with pytest.raises(OutputError, match="letters and digits"):
        Store(tmp_path).get("../k1")
