"""How `torch.export` is called: without its own words, and with its errors known."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

EXPORT_ERRORS = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError,
    SyntaxError, OSError,
)  # fmt: skip
"""What torch.export raises on programs it cannot read or specialise; none of them is documented."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch.export's own warnings (deprecations inside it) and its log from the user."""
    log = logging.getLogger("torch._export")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
