"""The silence around torch's exporter and tracer, whose warnings and prints are not for our users.

What they have to say about a network that cannot be captured is in their exceptions and in the tracer's
warnings, both of which capture turns into a `Refusal`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

LOGGERS = ("torch.export._trace", "torch.fx.experimental.symbolic_shapes")
"""They log what they raise afterwards."""


class _OtherThreadsOnly:
    """A stream that drops what the thread that made it writes, and passes on what others write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._silenced = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._silenced else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Within this block warnings are collected in the list it gives, and the exporter prints nothing.

    On a data-dependent branch torch 2.13 prints the half-made graph to stderr with `print`, so only the
    stream itself can be intercepted; other threads, such as a progress display, keep theirs.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(_OtherThreadsOnly(sys.stderr)))
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield caught
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
