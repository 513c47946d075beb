"""Whether artifacts must be signed, and by whom: asked for by a caller, or for a command and its processes.

A command sets a variable of the environment, which all processes that it starts inherit: so there is one
place that asks, `artifact.read`, and none that could be forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grandopt.artifacts.signing.keys import TrustedKeys

VARIABLE = "GRANDOPT_REQUIRE_SIGNATURE"

OWN_BUILD = TrustedKeys({}, "")
"""Asked for where this process itself has just written the artifact: nobody can have signed it."""

Requirement = TrustedKeys | Path | str | None
"""Public keys, a file or folder of them, or None for what the command asks for."""


def required(asked: Requirement) -> TrustedKeys | None:
    """The keys one of which must have signed an artifact; None where it need not be signed.

    Raises ConfigError for keys that cannot be read.
    """
    if asked == OWN_BUILD:
        return None
    if isinstance(asked, TrustedKeys):
        return asked
    if asked is None:
        asked = os.environ.get(VARIABLE)
    return None if asked is None else TrustedKeys.read(asked)


@contextmanager
def signatures_required(keys: Path | None) -> Iterator[None]:
    """Within the block all artifacts that this process and those that it starts open must be signed by one of
    `keys`; without keys nothing changes. Raises ConfigError for keys that cannot be read."""
    if keys is None:
        yield
        return
    TrustedKeys.read(keys)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(keys.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
