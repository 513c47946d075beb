"""Where somebody may look at what a batcher answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from grandopt.signature import Array

Tap = Callable[[Sequence[Array], Sequence[Array]], int | None]
_log = logging.getLogger(__name__)


class TapPoint:
    """Shows the inputs and outputs, [n, *shape], of one in `every` batches after the answers went out.

    `tap` is who sees them, None nobody. The arrays are its own only during the call; one that raises is told
    to the log, and taken away. What it gives, unless None, is how many rows pass before it sees a batch
    again. `over` is how many rows pass before its next batch; during a call, how many of that batch come
    before the one that it waited for.
    """

    def __init__(self) -> None:
        self.tap: Tap | None = None
        self.every = 1
        self.over = 0

    def show(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Let the tap see a batch, if it waits for one of its rows."""
        tap = self.tap
        if tap is None:
            return
        rows = len(inputs[0])
        if self.over >= rows:
            self.over -= rows
            return
        try:
            over = tap(inputs, outputs)
        except Exception:  # noqa: BLE001 - it may be anybody's
            # Whatever looks on has no part in the answers, and must not take one.
            _log.exception("a tap raised; it is taken away")
            self.tap, over = None, 0
        self.over = (self.every - 1) * rows if over is None else over
