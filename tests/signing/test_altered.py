"""What was changed in any way after it was signed is refused, and an artifact that nobody signed, too."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.signing.keys import TrustedKeys
from grandopt.artifacts.signing.release import verdict
from grandopt.artifacts.signing.signed import SIGNATURE_NAME
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
from tests.signing.conftest import KeyPair

MANIFEST = "manifest.json"
SMALL = 4096
"""Bytes of a file of which each is changed; of a larger one so many, spread over all of it."""


def _flips(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The content with one bit of one byte changed, for bytes in every region, first and last included."""
    random_ = random.Random(0)
    step = max(1, len(content) // SMALL)
    for place in sorted({*range(0, len(content), step), len(content) - 1}):
        changed = bytearray(content)
        changed[place] ^= 1 << random_.randrange(8)
        yield place, bytes(changed)


def _accepted(folder: Path, name: str, keys: TrustedKeys) -> list[int]:
    """The bytes of a file that can be changed without the artifact being refused."""
    file = folder / name
    whole = file.read_bytes()
    found = []
    for place, changed in _flips(whole):
        file.write_bytes(changed)
        if verdict(folder, keys).reason is None:
            found.append(place)
    file.write_bytes(whole)
    assert verdict(folder, keys).reason is None
    return found


def test_no_byte_of_manifest_or_signature_can_be_changed(policy: Path, key: KeyPair) -> None:
    keys = TrustedKeys.read(key.public)
    assert (policy / MANIFEST).stat().st_size <= SMALL  # each byte of it
    assert {name: _accepted(policy, name, keys) for name in (MANIFEST, SIGNATURE_NAME)} == {
        MANIFEST: [],
        SIGNATURE_NAME: [],
    }


def test_no_byte_of_a_payload_can_be_changed(tmp_path: Path, manifest: Manifest, key: KeyPair) -> None:
    payload = {"model.bin": random.Random(1).randbytes(SMALL), "empty": b"", "large": bytes(5_000_011)}
    folder = key.sign(write(tmp_path / "gate", manifest, payload).path)
    keys = TrustedKeys.read(key.public)
    small = next(folder.glob("model-*.bin"))
    assert _accepted(folder, small.name, keys) == []
    large = next(folder.glob("large-*"))
    whole = large.read_bytes()
    for place in (0, 1, 65_536, 1 << 20, (1 << 20) - 1, 2_500_000, len(whole) - 1):
        large.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
        assert verdict(folder, keys).reason is not None, place


@pytest.mark.parametrize("part", ["agent", "binding", "source"])
def test_no_region_of_native_code_can_be_changed(policy: Path, key: KeyPair, part: str) -> None:
    file = next(policy.glob(f"{part}*"))
    whole = file.read_bytes()
    for place in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(ArtifactError, match="damaged"):
            load(policy, require_signature=key.public)
    file.write_bytes(whole)
    load(policy, require_signature=key.public).close()


def _unsigned(policy: Path, pair: Path) -> None:
    (policy / SIGNATURE_NAME).unlink()


def _of_the_other(policy: Path, pair: Path) -> None:
    shutil.copy(pair / SIGNATURE_NAME, policy)


def _manifest_of_the_other(policy: Path, pair: Path) -> None:
    shutil.copy(pair / MANIFEST, policy)


def _payload_of_the_other(policy: Path, pair: Path) -> None:
    ours, theirs = next(policy.glob("agent*")), next(pair.glob("agent*"))
    ours.write_bytes(theirs.read_bytes())


def _payload_renamed(policy: Path, pair: Path) -> None:
    file = next(policy.glob("agent*"))
    file.rename(file.with_name("agent.so"))


def _truncated(policy: Path, pair: Path) -> None:
    file = policy / SIGNATURE_NAME
    file.write_bytes(file.read_bytes()[:-20])


def _empty(policy: Path, pair: Path) -> None:
    (policy / SIGNATURE_NAME).write_bytes(b"")


def _more_behind_it(policy: Path, pair: Path) -> None:
    with (policy / SIGNATURE_NAME).open("ab") as file:
        file.write(b"key: 00\n")


def _endless(policy: Path, pair: Path) -> None:
    (policy / SIGNATURE_NAME).unlink()
    (policy / SIGNATURE_NAME).symlink_to("/dev/zero")


def _pipe(policy: Path, pair: Path) -> None:
    (policy / SIGNATURE_NAME).unlink()
    os.mkfifo(policy / SIGNATURE_NAME)


def _payload_linked_elsewhere(policy: Path, pair: Path) -> None:
    file = next(policy.glob("agent*"))
    file.unlink()
    file.symlink_to(next(pair.glob("agent*")))


def _signature_linked_elsewhere(policy: Path, pair: Path) -> None:
    (policy / SIGNATURE_NAME).unlink()
    (policy / SIGNATURE_NAME).symlink_to(pair / SIGNATURE_NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unsigned, "it is not signed: there is no manifest.sig"),
        (_of_the_other, "is not of this content: it was changed after it was signed"),
        (_manifest_of_the_other, "is not of this content"),
        (_payload_of_the_other, "damaged"),
        (_payload_renamed, "cannot be read"),
        (_truncated, "its signature is damaged"),
        (_empty, "its signature is damaged"),
        (_more_behind_it, "its signature is damaged"),
        (_endless, "cannot be read: it is no regular file"),
        (_pipe, "cannot be read: it is no regular file"),
        (_payload_linked_elsewhere, "damaged"),
        (_signature_linked_elsewhere, "is not of this content"),
    ],
)
def test_it_is_refused_in_one_line(
    policy: Path, pair: Path, key: KeyPair, change: Callable[[Path, Path], None], message: str
) -> None:
    load(policy).close()
    load(policy, require_signature=key.public).close()
    change(policy, pair)
    with pytest.raises(ArtifactError, match=message) as caught:
        load(policy, require_signature=key.public)
    assert str(policy) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert verdict(policy, TrustedKeys.read(key.public)).reason == str(caught.value)


def test_the_signature_of_another_key(policy: Path, tmp_path: Path, key: KeyPair) -> None:
    other = KeyPair.new(tmp_path / "other.key")
    with pytest.raises(
        ArtifactError, match=r"signed by key [0-9a-f]{16}…, which is none of those in .*other"
    ):
        load(policy, require_signature=other.public)
    other.sign(policy)
    load(policy, require_signature=other.public).close()
    with pytest.raises(ArtifactError, match="which is none of those"):
        load(policy, require_signature=key.public)


def test_a_key_that_another_name_was_written_over(policy: Path, tmp_path: Path, key: KeyPair) -> None:
    """The id in the file only chooses among the keys: with a trusted one's name it is still another's."""
    other = KeyPair.new(tmp_path / "other.key")
    mine = next(iter(TrustedKeys.read(key.public).keys)).encode()
    theirs = next(iter(TrustedKeys.read(other.public).keys)).encode()
    other.sign(policy)
    file = policy / SIGNATURE_NAME
    file.write_bytes(file.read_bytes().replace(theirs, mine))
    with pytest.raises(ArtifactError, match="changed after it was signed"):
        read(policy, key.public)


def test_files_that_the_manifest_does_not_name_change_nothing(policy: Path, key: KeyPair) -> None:
    before = load(policy, require_signature=key.public)
    (policy / "agent.so").write_bytes(b"\x7fELF")
    (policy / "notes.txt").write_text("a user's own")
    after = load(policy, require_signature=key.public)
    assert after.signature == before.signature
    assert read(policy, key.public).manifest == read(policy).manifest
