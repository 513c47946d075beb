"""Values handed out of memory, to each caller his own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from grandopt.runtime.cache.codec import SCALARS, decode


def opener(data: bytes) -> Callable[[], Any]:
    """A function that gives the value of `data` anew at each call, with nothing that callers share.

    For arrays, scalars and tuples of them, which is what agents answer, a call reads no byte. Raises
    CacheError as `decode` does.
    """
    return _handing_out(decode(data)) or partial(decode, data)


def _handing_out(value: Any) -> Callable[[], Any] | None:
    """What gives `value` to one caller after another; None if only decoding it again will do."""
    if type(value) is np.ndarray:
        # What views get for their base is never the array they were made of, but one before it: whatever a
        # caller does to a view or to its base, the next view is as it should be.
        return value.view().view
    if isinstance(value, (*SCALARS, np.generic)):
        return repeat(value).__next__  # a call of no Python function
    if type(value) is tuple:
        items = [_handing_out(item) for item in value]
        if None not in items:
            return partial(_each, [item for item in items if item is not None])
    return None


def _each(items: list[Callable[[], Any]]) -> tuple[Any, ...]:
    return tuple([item() for item in items])
