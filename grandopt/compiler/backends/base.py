"""What every backend returns.

A backend is a module with `lower(program, options) -> Lowered`. It is called from one thread at a time,
does not modify the program, and owns nothing afterwards. It raises UnsupportedError when it cannot take
the program (naming the operator), BuildError when it tried and failed, EngineUnavailableError when its
library is not installed.
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
    """

    files: Mapping[str, bytes]
    options: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    cpu_features: tuple[str, ...] = ()
    trusted_only: bool = False
