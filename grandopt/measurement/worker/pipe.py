"""The worker's end of the pipes to its parent: requests in, answers out, until the parent is gone.

Only errors that grandopt raises on purpose are answered. Anything else ends the process with its traceback
on standard error, where the parent finds the reason: after an unexpected error nothing here can be trusted
to be measured again.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import BinaryIO

from grandopt.errors import GrandoptError
from grandopt.measurement.wire.codec import Asked, RefusedRequest, answer_line, asked


def serve(answer: Callable[[Asked], object]) -> None:
    """Answer requests until standard input ends; see `WorkerProcess` for the other side."""
    requests, answers = _claim_pipes()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, lines), daemon=True).start()
    while True:
        answers.write(reply(lines.get(), answer))
        answers.flush()


def reply(line: bytes, answer: Callable[[Asked], object]) -> bytes:
    """The line to write for a line that was read: the answer, or the refusal where one is raised."""
    try:
        return answer_line(answer(asked(line)))
    except GrandoptError as error:
        return answer_line(RefusedRequest(str(error)))


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to the parent for requests and answers.

    What libraries print goes to standard error instead, and what they read is empty. The streams are not
    `sys.stdin` and `sys.stdout`, because the interpreter cannot shut down while a thread reads from those.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _listen(stream: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on; at the end of input the parent is gone, so end at once, even in a call."""
    for line in stream:
        lines.put(line)
    os._exit(0)
