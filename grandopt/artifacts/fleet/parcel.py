"""One build or note as one piece of bytes: a zip without compression; the same content is the same bytes.

A build's parcel holds `manifest.json` and the payload files below `payload/`; a note's holds `note`. Either
has a member `signature` where it was signed. A build is compared with its manifest before anybody sees it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping

from grandopt.artifacts.artifact import MANIFEST_NAME
from grandopt.artifacts.manifest import Manifest
from grandopt.errors import ArtifactError
from grandopt.limits import document

SIGNATURE = "signature"
NOTE = "note"
PAYLOAD = "payload/"
MEMBERS = 256
_EPOCH = (1980, 1, 1, 0, 0, 0)


def packed(members: Mapping[str, bytes]) -> bytes:
    """The members in their order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    """The members of a parcel, together no larger than it; raises ArtifactError for any other file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            items = archive.infolist()
            stored = all(item.compress_type == zipfile.ZIP_STORED for item in items)
            if not stored or len(items) > MEMBERS or sum(item.file_size for item in items) > len(content):
                raise ArtifactError("it is no parcel of grandopt")
            return {item.filename: archive.read(item) for item in items}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError,
            OSError) as error:  # fmt: skip
        raise ArtifactError("it is no parcel of grandopt, or a damaged one") from error


def members_of(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members of a build's parcel."""
    data = json.dumps(manifest.to_json(), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return {MANIFEST_NAME: data.encode(), **{PAYLOAD + name: content for name, content in files.items()}}


def build_of(members: Mapping[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and payload of a build's parcel; raises ArtifactError unless they are each other's."""
    try:
        data = document(members.get(MANIFEST_NAME, b""))
    except ValueError as error:
        raise ArtifactError("its manifest is none") from error
    manifest = Manifest.from_json(data)
    files = {}
    for entry in manifest.payload:
        content = members.get(PAYLOAD + entry.name)
        if content is None or len(content) != entry.size:
            raise ArtifactError(f"its payload {entry.name!r} is missing, or of another size")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ArtifactError(f"its payload {entry.name!r} is damaged")
        files[entry.name] = content
    return manifest, files
