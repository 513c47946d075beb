"""What one machine has built, another takes: whole, undamaged, for its CPU, signed where it must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from grandopt.artifacts.fleet.base import Place, PlaceError
from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.fleet.folder import FolderPlace
from grandopt.artifacts.fleet.parcel import packed, unpacked
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.signing.keys import TrustedKeys, read_private
from grandopt.artifacts.store import Store
from tests.signing.conftest import KeyPair

KEY = "ab12" * 16
FILES = {"agent.so": b"\x7fELF" + bytes(1000), "signature": b"a payload may have any name"}
Open = Callable[[], Place]


class Machine:
    """A store of one's own and the fleet's, and what was told."""

    def __init__(self, home: Path, place: Place, **options: object) -> None:
        self.told: list[str] = []
        self.fleet = FleetStore(place, self.told.append, **options)  # type: ignore[arg-type]
        self.store = Store(home, fleet=self.fleet)

    def builds(self, manifest: Manifest, key: str = KEY) -> None:
        self.store.put(key, manifest, FILES)
        self.store.share(key)


def _parcel(place: Place, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change what lies at the place."""
    members = unpacked(place.get(f"builds/{KEY}") or b"")
    change(members)
    place.put(f"builds/{KEY}", packed(members))


def test_a_build_is_taken_and_kept(tmp_path: Path, place: Open, manifest: Manifest) -> None:
    Machine(tmp_path / "a", place()).builds(manifest)
    second = Machine(tmp_path / "b", place())
    artifact = second.store.get(KEY)
    assert artifact is not None
    assert artifact.payloads() == FILES
    assert replace(artifact.manifest, payload=()).digest == manifest.digest
    assert Store(tmp_path / "b").get(KEY) == artifact  # its own from now on
    assert second.store.get("cd34" * 16) is None
    assert (second.fleet.taken, second.told) == (1, [])


def test_only_shared_notes_are_anothers(tmp_path: Path, place: Open) -> None:
    first = Machine(tmp_path / "a", place())
    first.store.put_note(KEY, b"a refusal", shared=True)
    first.store.put_note("ef56" * 16, b"a figure of this machine")
    second = Machine(tmp_path / "b", place()).store
    assert second.note(KEY) is None
    assert second.note(KEY, shared=True) == b"a refusal"
    assert second.note("ef56" * 16, shared=True) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.update({"payload/agent.so": b"\x7fELF" + bytes(999) + b"\1"}), "is damaged"),
        (lambda members: members.pop("payload/agent.so"), "is missing, or of another size"),
        (lambda members: members.pop("manifest.json"), "it holds no manifest.json"),
        (lambda members: members.update({"manifest.json": b"{}"}), "states no format_version"),
    ],
)
def test_what_is_damaged_is_told_once_and_not_used(
    tmp_path: Path, place: Open, manifest: Manifest, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    Machine(tmp_path / "a", place()).builds(manifest)
    _parcel(place(), change)
    second = Machine(tmp_path / "b", place())
    assert second.store.get(KEY) is None
    assert second.store.get(KEY) is None
    assert len(second.told) == 1
    assert message in second.told[0]
    second.builds(manifest)  # what is built anew takes the damaged one's place
    assert Machine(tmp_path / "c", place()).store.get(KEY) is not None


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 1000])
def test_what_is_no_parcel(tmp_path: Path, place: Open, content: bytes) -> None:
    place().put(f"builds/{KEY}", content)
    machine = Machine(tmp_path, place())
    assert machine.store.get(KEY) is None
    assert "no parcel" in machine.told[0]


def test_a_build_for_another_cpu_is_not_taken(tmp_path: Path, place: Open, manifest: Manifest) -> None:
    Machine(tmp_path / "a", place()).builds(replace(manifest, cpu_features=("avx9000",)))
    second = Machine(tmp_path / "b", place())
    assert second.store.get(KEY) is None
    assert "another kind of CPU" in second.told[0]


def test_a_pickle_is_neither_given_nor_taken(tmp_path: Path, place: Open, manifest: Manifest) -> None:
    first = Machine(tmp_path / "a", place())
    first.builds(replace(manifest, trusted_only=True))
    assert first.fleet.shared == 0
    assert place().get(f"builds/{KEY}") is None


def test_only_what_a_trusted_key_signed_is_taken(
    tmp_path: Path, place: Open, manifest: Manifest, key: KeyPair
) -> None:
    private, trusted = read_private(key.private), TrustedKeys.read(key.public)
    Machine(tmp_path / "a", place()).builds(manifest)
    asks = Machine(tmp_path / "b", place(), trusted=trusted)
    assert asks.store.get(KEY) is None
    assert "it is not signed" in asks.told[0]
    place().put(f"builds/{KEY}", b"")
    Machine(tmp_path / "c", place(), key=private).builds(manifest)
    assert Machine(tmp_path / "d", place(), trusted=trusted).store.get(KEY) is not None
    other = "cd34" * 16
    place().put(f"builds/{other}", place().get(f"builds/{KEY}") or b"")
    moved = Machine(tmp_path / "e", place(), trusted=trusted)
    assert moved.store.get(other) is None
    assert "not of 'build cd34" in moved.told[0]
    _parcel(place(), lambda members: members.update({"payload/agent.so": bytes(1004)}))
    changed = Machine(tmp_path / "f", place(), trusted=trusted)
    assert changed.store.get(KEY) is None
    first = Machine(tmp_path / "g", place(), key=private)
    first.store.put_note(KEY, b"a refusal", shared=True)
    assert Machine(tmp_path / "h", place(), trusted=trusted).store.note(KEY, shared=True) == b"a refusal"


class _Gone(Place):
    """A place that stops to answer; counts what it was asked."""

    def __init__(self, error: PlaceError) -> None:
        self.name, self.asked, self._error = "gone", 0, error

    def check(self) -> None:
        raise self._error

    def get(self, name: str) -> bytes | None:
        self.asked += 1
        raise self._error

    put = get  # type: ignore[assignment]


def test_a_place_that_does_not_answer_is_asked_once(tmp_path: Path, manifest: Manifest) -> None:
    gone = _Gone(PlaceError("gone: timed out"))
    machine = Machine(tmp_path, gone)
    assert machine.store.get(KEY) is None
    machine.builds(manifest)
    assert machine.store.get(KEY) is not None
    assert machine.store.note(KEY, shared=True) is None
    assert gone.asked == 1
    assert machine.told == ["gone: timed out; this run goes on without the store"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read(tmp_path: Path, manifest: Manifest) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    Machine(tmp_path / "a", FolderPlace(shared)).builds(manifest)
    for folder in (shared / "builds", shared):
        folder.chmod(0o555)
    second = Machine(tmp_path / "b", FolderPlace(shared))
    assert second.store.get(KEY) is not None
    second.builds(manifest, "cd34" * 16)
    second.builds(manifest, "ef56" * 16)
    assert len(second.told) == 1
    assert "what is built here is not shared" in second.told[0]


def test_many_write_and_read_one_key_at_once(tmp_path: Path, place: Open, manifest: Manifest) -> None:
    """Readers see a whole build or none, whoever writes."""

    def write(number: int) -> None:
        machine = Machine(tmp_path / f"w{number}", place())
        for _ in range(5):
            machine.fleet.put_build(KEY, *_read_build(machine, manifest))

    def read(number: int) -> int:
        machine = Machine(tmp_path / f"r{number}", place())
        found = sum(machine.fleet.build(KEY) is not None for _ in range(10))
        assert machine.told == []
        return found

    write(9)

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        readers = [pool.submit(read, number) for number in range(3)]
        assert [one.result() for one in writers] == [None] * 3
        assert [one.result() for one in readers] == [10] * 3


def _read_build(machine: Machine, manifest: Manifest) -> tuple[Manifest, dict[str, bytes]]:
    artifact = machine.store.put(KEY, manifest, FILES)
    machine.fleet._there.clear()  # each time as if it were new
    return artifact.manifest, artifact.payloads()
