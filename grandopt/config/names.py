"""Names that users give or choose from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

ProfileName = Literal["basic", "standard", "aggressive", "maximum"]

DEFAULT_PROFILE: ProfileName = "aggressive"


def nearest(word: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the known word closest to `word`, or the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def check_agent_name(name: str) -> str:
    """Return `name` if it can be a folder's name (letters, digits, '_', '-', '.'); raises ValueError."""
    plain = name.replace("_", "").replace("-", "").replace(".", "")
    if not plain.isascii() or not plain.isalnum() or name.startswith((".", "-")):
        raise ValueError(f"agent name {name!r} may hold only letters, digits, '_', '-' and '.'")
    return name
