"""Importing what a command works with."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Within the block nobody looks for garbage, and never again in what was made there: torch and the tools
    around it are some hundred thousand objects that stay, and going through them takes a fifth of importing
    them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
