"""What a level says of its storage when that is not what it should be: in the log, and not at every call."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class Complaints:
    """The complaints of one level. The first of a kind is logged, then the tenth, the hundredth and so on.

    Thread safety: any thread may call anything; of two at once one may go uncounted.
    """

    def __init__(self, level: str) -> None:
        self._level = level
        self._seen: dict[str, int] = {}

    def about(self, kind: str, cause: object = None) -> None:
        """Note one: `kind` is the same text each time, `cause` tells this one."""
        count = self._seen[kind] = self._seen.get(kind, 0) + 1
        if str(count).strip("0") == "1":
            text = "" if cause is None else f": {cause}"
            _log.warning("cache level %s: %s%s (%d so far)", self._level, kind, text, count)
