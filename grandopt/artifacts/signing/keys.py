"""Keys as files: PEM, as openssl writes and reads them (PKCS #8 and SubjectPublicKeyInfo of RFC 8410).

    openssl genpkey -algorithm ed25519 -out release.key
    openssl pkey -in release.key -pubout -out release.key.pub

makes the same pair as `write_new_key`. No message of this module holds a key.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grandopt.artifacts.regular import read_regular
from grandopt.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
PUBLIC_SUFFIX = ".pub"
LARGEST = 1 << 20
"""Bytes of a file of keys."""
INSTALL = "pip install 'grandopt[sign]'"

_SPKI = bytes.fromhex("302a300506032b6570032100")
"""What precedes the 32 bytes of an ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4)."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class TrustedKeys:
    """Public ed25519 keys (32 bytes each) by their `key_id`, and the path that they were read from."""

    keys: Mapping[str, bytes] = field(repr=False)
    source: str

    @classmethod
    def read(cls, path: Path | str) -> TrustedKeys:
        """All keys of a file, or of the files `*.pub` in a folder.

        Raises ConfigError where there is none, and for a file that holds anything but public ed25519 keys.
        """
        path = Path(path)
        files = sorted(path.glob(f"*{PUBLIC_SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise ConfigError(f"{path}: holds no file *{PUBLIC_SUFFIX}; public keys are read from those")
        found = [raw for file in files for raw in _public(file)]
        return cls({key_id(raw): raw for raw in found}, str(path))


def key_id(raw: bytes) -> str:
    """What names a key: SHA-256 (hex) of its SubjectPublicKeyInfo."""
    return hashlib.sha256(_SPKI + raw).hexdigest()


def write_new_key(path: Path) -> str:
    """Make a pair of keys: the private one in `path`, for its owner alone (0600), the other in `path`.pub.

    Returns the key's id. Nothing is overwritten: raises OutputError where one of the two files is there
    already, or cannot be written, and leaves neither behind.
    """
    from cryptography.hazmat.primitives import serialization as forms

    private = ed25519_library().Ed25519PrivateKey.generate()
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    contents = {
        path: private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()),
        public: private.public_key().public_bytes(
            forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo
        ),
    }
    made: list[Path] = []
    try:
        for file, content in contents.items():
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            made.append(file)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
        public.chmod(0o644)
    except OSError as error:
        for half in made:
            with suppress(OSError):
                half.unlink()
        if isinstance(error, FileExistsError):
            raise OutputError(f"{file}: is there already, and no key is overwritten; name another") from error
        raise OutputError(f"{file}: cannot be written: {error.strerror}") from error
    return key_id(private.public_key().public_bytes_raw())


def read_private(path: Path) -> Ed25519PrivateKey:
    """The private key of a file; raises ConfigError where it holds none that can be used."""
    content = _read(path)
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in content:
        raise ConfigError(f"{path}: the key is encrypted; `openssl pkey -in FILE -out PLAIN` decrypts it")
    if b"-----BEGIN PRIVATE KEY-----" not in content:
        raise ConfigError(f"{path}: no private key in PEM; `grandopt sign --new-key FILE` makes one")
    kind = ed25519_library()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:  # the cause may repeat what is in the file
        raise ConfigError(f"{path}: the private key in it cannot be read") from error
    if not isinstance(key, kind.Ed25519PrivateKey):
        raise ConfigError(f"{path}: not an {ALGORITHM} key; `grandopt sign --new-key FILE` makes one")
    found: Ed25519PrivateKey = key
    return found


def _public(path: Path) -> list[bytes]:
    """The public keys of one file, 32 bytes each."""
    blocks = _BLOCK.findall(_read(path))
    if any(b"PRIVATE" in label for label, _ in blocks):
        raise ConfigError(f"{path}: holds a private key; name the public one, such as {path}{PUBLIC_SUFFIX}")
    found = []
    for label, text in blocks:
        try:
            der = b64decode(b"".join(text.split()), validate=True)
        except ValueError as error:
            raise ConfigError(f"{path}: the key in it cannot be read") from error
        if label != b"PUBLIC KEY" or not der.startswith(_SPKI) or len(der) != len(_SPKI) + 32:
            raise ConfigError(f"{path}: holds something else than public {ALGORITHM} keys")
        found.append(der[len(_SPKI) :])
    if not found:
        raise ConfigError(f"{path}: holds no public key in PEM")
    return found


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error


def ed25519_library() -> Any:
    """The library's module; what only verifies reads keys without it."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError(
            f"signatures need the package cryptography, which is not installed; {INSTALL}"
        ) from error
    return ed25519
