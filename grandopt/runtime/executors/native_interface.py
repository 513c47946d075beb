"""What a native library says of itself, and what its artifact's manifest says of it: before the first call.

The manifest decides how much memory a call gives to compiled code. A library therefore states what that code
reads and writes, as text under a name beside its function's, and the loader compares: whoever edits a
manifest, and be it with a digest of his own, gets an ArtifactError instead of a call with too little memory.

    grandopt native 1
    scratch 1024
    features avx2 fma
    in float32 60 7
    out float32 3
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.manifest import STATES_DIGEST
from grandopt.errors import ArtifactError
from grandopt.runtime.executors.interface import check_text, signature_text
from grandopt.runtime.executors.options import texts, whole
from grandopt.signature import Signature

ENTRY = re.compile(r"agent_[0-9a-f]{32}_invoke")
"""The name of a library's function. Nothing else is looked up: a library sees the whole C library, too."""
EARLIER_ENTRY = re.compile(r"[A-Za-z_][0-9A-Za-z_]*_invoke")
"""Earlier releases named it after the agent."""


def interface_name(entry: str) -> str:
    """The name of the text of the library whose function is `entry`."""
    return f"{entry.removesuffix('_invoke')}_interface"


def interface_text(scratch: int, features: Sequence[str], signature: Signature) -> str:
    """The text: the scratch of a call in bytes, the CPU features, and each tensor of one sample."""
    lines = ["grandopt native 1", f"scratch {scratch}", " ".join(["features", *sorted(features)])]
    return "".join(f"{line}\n" for line in lines) + signature_text(signature)


def entry_of(artifact: Artifact, level: str) -> str:
    """The name of the function of a level; raises ArtifactError for any that is not of its fixed form."""
    if "invokes" in artifact.manifest.options:
        name, form = texts(artifact, "invokes").get(level), ENTRY
    else:
        name, form = f"{artifact.manifest.options.get('symbol')}_invoke", EARLIER_ENTRY
    if not isinstance(name, str) or not form.fullmatch(name):
        raise ArtifactError(
            f"{artifact.path}: {name!r} is no function of a native agent; build the artifact again"
        )
    return name


def check_interface(artifact: Artifact, signature: Signature, level: str, stated: str | None) -> None:
    """Raise ArtifactError unless the manifest says what the library of `level` says: `stated`.

    A library of an earlier release says nothing; the header for C hosts in the same artifact does.
    """
    scratch = whole(artifact, "scratch_bytes", 0)
    if stated is None:
        _check_earlier(artifact, signature, scratch)
        return
    said = interface_text(scratch, texts(artifact, "levels")[level], signature)
    check_text(artifact, said, stated)


def _check_earlier(artifact: Artifact, signature: Signature, scratch: int) -> None:
    if artifact.manifest.format_version >= STATES_DIGEST:
        raise ArtifactError(
            f"{artifact.path}: its library does not state what it reads and writes; build the artifact again"
        )
    from grandopt.runtime.executors.native_header import read_header  # for artifacts of earlier releases

    header = read_header(artifact)
    check_text(artifact, header.described(signature, scratch), header.text)
