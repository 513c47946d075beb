"""What every backend returns.

A backend is a module with `lower(program, options) -> Lowered`.

Thread safety: it is called from one thread at a time. Ownership: it does not modify the program, its example
or anything captured of it, and owns nothing afterwards: no file, no process.

The same program and options give the same files: the same bytes, or the same contents where a library numbers
what it writes anew (`identity.content_digest` for TorchScript; the names in OpenVINO's `graph.xml`, and with
them `graph.blob`). No torch is needed to load them unless `requires` names it.

It raises UnsupportedError when it cannot take the program (naming the operator or the condition, such as a
state between calls), BuildError when it tried and failed or when the outputs are not those of the signature,
EngineUnavailableError when its library or compiler is not installed. Each is one line; a third-party error is
its cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Lowered:
    """The payload of an artifact, and what its executor must know.

    `files` maps names to bytes; `options` is stored in the manifest for the executor; `requires` names the
    libraries and versions that the payload is bound to; `trusted_only` marks one that must be unpickled.
    `known_defect` says what is known to be wrong with the engine's kernels for this program.
    """

    files: Mapping[str, bytes]
    options: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    cpu_features: tuple[str, ...] = ()
    trusted_only: bool = False
    known_defect: str | None = None
