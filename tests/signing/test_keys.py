"""Keys: files that openssl reads and writes, made for their owner alone, told of without what is in them."""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from grandopt.artifacts.signing.keys import TrustedKeys, key_id, read_private, write_new_key
from grandopt.artifacts.signing.release import sign_artifact, verdict
from grandopt.artifacts.signing.signed import SIGNATURE_NAME, signed, signer
from grandopt.errors import ArtifactError, ConfigError, OutputError
from tests.signing.conftest import KeyPair

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no program openssl")


def _openssl(*words: str | Path) -> bytes:
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    pair = KeyPair.new(tmp_path / "release.key")
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    assert list(TrustedKeys.read(pair.public).keys) == [
        key_id(read_private(pair.private).public_key().public_bytes_raw())
    ]


@pytest.mark.parametrize("there", ["release.key", "release.key.pub"])
def test_nothing_is_overwritten_and_nothing_half_done_stays(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputError, match=f"{there}: is there already"):
        write_new_key(tmp_path / "release.key")
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [(there, "mine")]
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_new_key(tmp_path / "missing" / "release.key")


@needs_openssl
def test_openssl_signs_and_verifies_with_the_same_files(policy: Path, tmp_path: Path) -> None:
    private, public = tmp_path / "release.key", tmp_path / "release.key.pub"
    _openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    _openssl("pkey", "-in", private, "-pubout", "-out", public)
    sign_artifact(policy, read_private(private))
    assert verdict(policy, TrustedKeys.read(public)).reason is None
    lines = (policy / SIGNATURE_NAME).read_bytes().splitlines(keepends=True)
    message, written = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"".join(lines[:3]) + (policy / "manifest.json").read_bytes())
    made = _openssl("pkeyutl", "-sign", "-rawin", "-in", message, "-inkey", private, "-out", written)
    assert made == b""
    assert base64.b64encode(written.read_bytes()) in lines[3]  # ed25519 is deterministic (RFC 8032)
    der = _openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    assert hashlib.sha256(der).hexdigest().encode() in lines[2]


@needs_openssl
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("genpkey", "-algorithm", "x25519"), "not an ed25519 key"),
        (("genpkey", "-algorithm", "ed448"), "not an ed25519 key"),
        (("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"), "the key is encrypted"),
    ],
)
def test_private_keys_that_cannot_be_used(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    _openssl(*words, "-out", tmp_path / "key")
    with pytest.raises(ConfigError, match=message) as caught:
        read_private(tmp_path / "key")
    _tells_no_key(caught.value, tmp_path / "key")


def test_public_keys_that_cannot_be_used(tmp_path: Path, key: KeyPair) -> None:
    text = key.public.read_text()
    body = text.splitlines()[1]
    for content, message in {
        "": "holds no public key in PEM",
        text.replace(body, body[:-8]): "holds something else than public ed25519 keys",
        text.replace(body, "!" + body[1:]): "cannot be read",
        text.replace("PUBLIC", "RSA PUBLIC"): "holds something else",
        key.private.read_text(): r"holds a private key; name the public one, such as .*\.pub",
        text + key.private.read_text(): "holds a private key",
    }.items():
        (tmp_path / "keys.pub").write_text(content)
        for place in (tmp_path / "keys.pub", tmp_path):
            with pytest.raises(ConfigError, match=message) as caught:
                TrustedKeys.read(place)
            _tells_no_key(caught.value, key.private)
    with pytest.raises(ConfigError, match="no private key in PEM"):
        read_private(key.public)
    with pytest.raises(ConfigError, match="the key cannot be read: No such file"):
        TrustedKeys.read(tmp_path / "absent")
    (tmp_path / "keys.pub").unlink()
    with pytest.raises(ConfigError, match=r"holds no file \*\.pub"):
        TrustedKeys.read(tmp_path)


def test_a_damaged_private_key_is_not_repeated(tmp_path: Path, key: KeyPair) -> None:
    lines = key.private.read_text().splitlines()
    (tmp_path / "key").write_text("\n".join([lines[0], lines[1][:-10], lines[2]]))
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_private(tmp_path / "key")
    _tells_no_key(caught.value, key.private)


def _tells_no_key(error: Exception, file: Path) -> None:
    assert "\n" not in str(error)
    for line in file.read_text().splitlines()[1:-1]:
        assert line[16:40] not in f"{error} {error!r} {error.__cause__!r}"


def test_keys_are_not_in_a_repr(key: KeyPair) -> None:
    keys = TrustedKeys.read(key.public)
    assert all(repr(raw) not in repr(keys) for raw in keys.keys.values())


def test_a_signature_of_one_thing_is_none_of_another(key: KeyPair) -> None:
    private, keys = read_private(key.private), TrustedKeys.read(key.public)
    made = signed(b"content", private, "build ab12")
    assert signer(b"content", made, keys, "build ab12")
    for subject in ("artifact", "build ab13"):
        with pytest.raises(ArtifactError, match="its signature is one of 'build ab12', not of"):
            signer(b"content", made, keys, subject)
        with pytest.raises(ArtifactError, match="changed after it was signed"):
            signer(b"content", made.replace(b"build ab12", subject.encode()), keys, subject)


def test_the_last_digit_of_base64_has_one_spelling(key: KeyPair) -> None:
    private, keys = read_private(key.private), TrustedKeys.read(key.public)
    made = signed(b"content", private)
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = made[-4]
    other = digits[digits.index(last) ^ 1]
    with pytest.raises(ArtifactError, match="changed after it was signed"):
        signer(b"content", made[:-4] + bytes([other]) + made[-3:], keys)
