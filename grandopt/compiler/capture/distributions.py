"""`torch.distributions` without the checks of its arguments, whose branches on the data no graph can hold."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from torch.distributions import Distribution

FLAG = "_validate_args"
"""The attribute that a distribution takes its default from, on the class."""

_LOCK = threading.Lock()
_capturing: set[int] = set()
_outside: list[Any] = []
"""The flag's own value while a capture runs; empty when none does."""


class _ByThread:
    """The flag as threads read it: off for those that capture, as it was for all others."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if threading.get_ident() in _capturing:
            return False
        return _outside[0] if _outside else __debug__


@contextlib.contextmanager
def unvalidated() -> Iterator[None]:
    """Within the block, and in this thread alone, distributions do not check their arguments by default.

    What they compute is the same. One that was told to check by `validate_args=True` does so.
    """
    thread = threading.get_ident()
    with _LOCK:
        if not _outside:
            _outside.append(Distribution.__dict__[FLAG])
            setattr(Distribution, FLAG, _ByThread())
        nested = thread in _capturing
        _capturing.add(thread)
    try:
        yield
    finally:
        if not nested:
            with _LOCK:
                _capturing.discard(thread)
                if not _capturing:
                    setattr(Distribution, FLAG, _outside.pop())
