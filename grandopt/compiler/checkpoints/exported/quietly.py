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


LOGS = {"torch._export": logging.ERROR, "torch._subclasses.fake_tensor": logging.CRITICAL}
"""Where torch says something by itself, and from which level on it is let through."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch.export's own warnings (deprecations inside it) and its logs from the user."""
    logs = {logging.getLogger(name): least for name, least in LOGS.items()}
    levels = {log: log.level for log in logs}
    try:
        for log, least in logs.items():
            log.setLevel(least)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)
