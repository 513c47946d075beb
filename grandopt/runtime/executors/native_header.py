"""What the C header of a native artifact says: artifacts of earlier releases have no other witness.

Their libraries state nothing. The header for C hosts, in the artifact's `source.zip`, was written from the
same source as the library, and has the scratch, and each tensor's C type and elements.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError, first_line
from grandopt.signature import Signature, TensorSpec

SOURCES = "source.zip"
LARGEST = 1 << 20
"""Bytes of a header, at most."""
C_TYPES = {"float32": "float", "float64": "double", "bool": "uint8_t"}
"""Of the dtypes whose C type is not their name with `_t`."""

_SCRATCH = re.compile(r"^#define \w+_SCRATCH_BYTES (\d+)\b", re.MULTILINE)
_SIZE = re.compile(r"^#define \w+?_(IN|OUT)(\d+)_SIZE (\d+)\b", re.MULTILINE)
_RUN = re.compile(r"^int \w+_run\(([^)]*)\);", re.MULTILINE)
_TENSOR = re.compile(r"(?:const )?(\w+) \*(in|out)(\d+)")


@dataclass(frozen=True)
class Header:
    """One line for the scratch and one for each tensor: name, C type, elements of a sample."""

    text: str

    def described(self, signature: Signature, scratch: int) -> str:
        """The same lines for a signature."""
        lines = [f"scratch {scratch}"]
        for side, specs in (("in", signature.inputs), ("out", signature.outputs)):
            lines += [f"{side}{i} {_c_type(spec)} {spec.elements}" for i, spec in enumerate(specs)]
        return "\n".join(lines)


def read_header(artifact: Artifact) -> Header:
    """The header of an artifact; raises ArtifactError when it has none that can be read."""
    text = _text(artifact)
    scratch, run = _SCRATCH.search(text), _RUN.search(text)
    if scratch is None or run is None:
        raise _unknown(artifact, "its C header cannot be read")
    sizes = {f"{side.lower()}{number}": size for side, number, size in _SIZE.findall(text)}
    tensors = [(f"{side}{number}", kind) for kind, side, number in _TENSOR.findall(run[1])]
    lines = [f"{name} {kind} {sizes.get(name)}" for name, kind in tensors]
    return Header("\n".join([f"scratch {scratch[1]}", *lines]))


def _text(artifact: Artifact) -> str:
    if not any(entry.name == SOURCES for entry in artifact.manifest.payload):
        raise _unknown(artifact, "it has no C header either")
    try:
        with zipfile.ZipFile(io.BytesIO(artifact.payload(SOURCES))) as archive:
            names = [item for item in archive.infolist() if item.filename.endswith(".h")]
            if len(names) != 1 or names[0].file_size > LARGEST:
                raise _unknown(artifact, "it has no C header either")
            return archive.read(names[0]).decode("utf-8", errors="replace")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError,
            OSError) as error:  # fmt: skip
        raise _unknown(artifact, f"its sources cannot be read ({first_line(error)})") from error


def _unknown(artifact: Artifact, why: str) -> ArtifactError:
    return ArtifactError(
        f"{artifact.path}: its library does not state what it reads and writes, and {why}; build the "
        f"artifact again"
    )


def _c_type(spec: TensorSpec) -> str:
    return C_TYPES.get(spec.dtype, f"{spec.dtype}_t")
