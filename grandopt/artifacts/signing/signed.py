"""A signature: what it covers, its form in a file, how it is made and checked.

    grandopt artifact signature 1
    algorithm: ed25519
    key: 64 hexadecimal digits
    signature: base64 of 64 bytes

Signed are the lines before the signature itself, and after them the exact bytes of the manifest, which holds
the SHA-256 and size of every payload file. Nothing is outside: a changed line of the file makes another
message or is no signature at all, and the first line keeps a signature of one thing from being one of
another. What lies in an artifact's folder and is not in the manifest is never opened.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.artifacts.regular import read_regular
from grandopt.artifacts.signing.keys import ALGORITHM, TrustedKeys, ed25519_library, key_id
from grandopt.errors import ArtifactError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_NAME = "manifest.sig"
LARGEST = 1024
"""Bytes of a signature's file, at most."""
ARTIFACT = "artifact"
"""What a signature is of: the first line of its file says it."""

_FORM = re.compile(
    rb"(?P<head>grandopt (?P<subject>[ -~]+) signature 1\n"
    rb"algorithm: (?P<algorithm>[a-z0-9-]+)\n"
    rb"key: (?P<key>[0-9a-f]{64})\n)"
    rb"signature: (?P<signature>[A-Za-z0-9+/]{86}==)\n"
)


def signed(content: bytes, key: Ed25519PrivateKey, subject: str = ARTIFACT) -> bytes:
    """The signature of `content` as `subject`, in its form in a file."""
    name = key_id(key.public_key().public_bytes_raw())
    head = f"grandopt {subject} signature 1\nalgorithm: {ALGORITHM}\nkey: {name}\n".encode()
    return head + b"signature: " + b64encode(key.sign(head + content)) + b"\n"


def signer(content: bytes, signature: bytes, trusted: TrustedKeys, subject: str = ARTIFACT) -> str:
    """The id of the trusted key that signed `content` as `subject`; raises ArtifactError, with the reason,
    where none did."""
    form = _FORM.fullmatch(signature)
    if form is None:
        raise ArtifactError("its signature is damaged, or of a form that this grandopt does not know")
    if form["subject"] != subject.encode():
        raise ArtifactError(f"its signature is one of {form['subject'].decode()!r}, not of {subject!r}")
    name = form["key"].decode()
    if form["algorithm"] != ALGORITHM.encode():
        raise ArtifactError(f"its signature is by {form['algorithm'].decode()}, not by {ALGORITHM}")
    if name not in trusted.keys:
        raise ArtifactError(f"it is signed by key {name[:16]}…, which is none of those in {trusted.source}")
    library = ed25519_library()
    from cryptography.exceptions import InvalidSignature

    written = b64decode(form["signature"])
    try:
        if b64encode(written) != form["signature"]:  # a second spelling of the same bytes
            raise InvalidSignature
        library.Ed25519PublicKey.from_public_bytes(trusted.keys[name]).verify(written, form["head"] + content)
    except InvalidSignature as error:
        raise ArtifactError(
            f"its signature by key {name[:16]}… is not of this content: it was changed after it was signed"
        ) from error
    return name


def read_signature(folder: Path) -> bytes:
    """The signature in the folder of an artifact; raises ArtifactError where there is none to be read."""
    try:
        return read_regular(folder / SIGNATURE_NAME, LARGEST)
    except FileNotFoundError as error:
        raise ArtifactError(f"it is not signed: there is no {SIGNATURE_NAME}") from error
    except OSError as error:
        raise ArtifactError(f"its {SIGNATURE_NAME} cannot be read: {error.strerror}") from error
