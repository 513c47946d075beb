"""What a payload itself takes and gives, compared with what its manifest says, before the first call.

Engines hand memory of the manifest's sizes to the payload. Where a payload tells its tensors (a graph of
ONNX or OpenVINO, an exported program) they are compared; a payload that does not tell them carries a text of
them (`signature_text`), put there when it was built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError
from grandopt.signature import Signature, TensorSpec

STATEMENT = "grandopt_interface"
"""The name under which a payload carries its text."""


class Told(NamedTuple):
    """A tensor as a payload tells it: dtype, and the sizes with the batch (None: any, or not known)."""

    dtype: str
    sizes: Sequence[int | None] | None


def signature_text(signature: Signature) -> str:
    """One line for each tensor of a sample: side, dtype, sizes."""
    lines = [
        " ".join([side, spec.dtype, *map(str, spec.shape)])
        for side, specs in (("in", signature.inputs), ("out", signature.outputs))
        for spec in specs
    ]
    return "".join(f"{line}\n" for line in lines)


def check_text(artifact: Artifact, said: str, stated: str) -> None:
    """Raise ArtifactError, with the first lines that differ, unless manifest and payload say the same."""
    if said == stated:
        return
    ours, theirs = said.splitlines(), stated.splitlines()
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            _refuse(artifact, one, other)
    _refuse(artifact, f"{len(ours)} lines", f"{len(theirs)} lines")


def check_tensors(
    artifact: Artifact, signature: Signature, inputs: Sequence[Told], outputs: Sequence[Told]
) -> None:
    """Raise ArtifactError unless the manifest's tensors are those that the payload tells."""
    for side, specs, told in (("input", signature.inputs, inputs), ("output", signature.outputs, outputs)):
        if len(specs) != len(told):
            _refuse(artifact, f"{len(specs)} {side}s", f"{len(told)} {side}s")
        for spec, tensor in zip(specs, told, strict=True):
            if not _same(spec, tensor):
                _refuse(
                    artifact,
                    f"{side} {spec.dtype} {['batch', *spec.shape]}",
                    f"{side} {tensor.dtype} {tensor.sizes}",
                )


def _same(spec: TensorSpec, tensor: Told) -> bool:
    if spec.dtype != tensor.dtype:
        return False
    if tensor.sizes is None:
        return True
    return len(tensor.sizes) == len(spec.shape) + 1 and all(
        size is None or size == wanted for size, wanted in zip(tensor.sizes[1:], spec.shape, strict=True)
    )


def _refuse(artifact: Artifact, said: str, stated: str) -> NoReturn:
    raise ArtifactError(
        f"{artifact.path}: the manifest says {said!r}, the payload {stated!r}: one of them was changed; "
        f"build it again"
    )
