"""The store: found by key, one entry per key, damage is removed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
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


def _age(store: Store, *keys: str) -> None:
    """Make the entries look unused, the first for the longest time."""
    for place, key in enumerate(keys):
        path = store.root / key
        os.utime(path if path.exists() else store.root / ".notes" / key, (place, place))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path, manifest: Manifest) -> None:
    unlimited = Store(tmp_path)
    for key in ("k1", "k2", "k3"):
        unlimited.put(key, manifest, {"a.bin": bytes(100_000)})
    unlimited.put_note("n1", bytes(50_000))
    unlimited.close()
    _age(unlimited, "n1", "k1", "k2", "k3")
    assert unlimited.get("k1") is not None, "used again, so it is no longer the oldest"
    unlimited.close()
    store = Store(tmp_path, limit_bytes=250_000)
    store.put("k4", manifest, {"a.bin": bytes(100_000)})
    assert store.note("n1") is None
    assert [key for key in ("k1", "k2", "k3", "k4") if store.get(key)] == ["k1", "k4"]


def test_an_entry_in_use_is_never_evicted(tmp_path: Path, manifest: Manifest) -> None:
    user = Store(tmp_path)
    user.put("k1", manifest, {"a.bin": bytes(100_000)})
    user.put("k2", manifest, {"a.bin": bytes(100_000)})
    _age(user, "k1", "k2")
    other = Store(tmp_path, limit_bytes=150_000)
    other.put("k3", manifest, {"a.bin": bytes(100_000)})
    assert user.get("k1") is not None
    assert user.get("k2") is not None
    user.close()
    other.put("k4", manifest, {"a.bin": bytes(10)})
    assert (user.root / "k3").exists()
    assert not (user.root / "k1").exists()


def test_the_lease_of_a_dead_process_counts_for_nothing(tmp_path: Path, manifest: Manifest) -> None:
    code = (
        "import os, sys; from pathlib import Path; from grandopt.artifacts.store import Store;"
        "store = Store(Path(sys.argv[1])); assert store.get('k1'); os.kill(os.getpid(), 9)"
    )
    Store(tmp_path).put("k1", manifest, {"a.bin": bytes(100_000)})
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list((tmp_path / ".leases").iterdir())) >= 1
    gc.collect()
    store = Store(tmp_path, limit_bytes=1000)
    store.put("k2", manifest, {"a.bin": b"2"})
    assert store.get("k1") is None


def test_notes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.note("n1") is None
    store.put_note("n1", b"first")
    store.put_note("n1", b"second")
    assert store.note("n1") == b"second"
    path = tmp_path / ".notes" / "n1"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert store.note("n1") is None
    assert not path.exists(), "a damaged note is removed"
