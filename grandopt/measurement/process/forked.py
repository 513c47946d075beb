"""Work whose crash must cost nothing else: a process of its own, forked, that ends with its answer.

What was generated and compiled a moment ago is called for the first time here. A process that it crashes, or
whose memory it damages, is thrown away with it, so that its end is its own and nobody's else.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

from grandopt.errors import CrashError, EngineError, GrandoptError

HEAP_BLOCKS = tuple(1 << power for power in range(5, 21))
"""Sizes of memory that is taken and given back before the end: damage to what lies beside it shows then."""


def apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of `work`, something that JSON can say, from a process of its own.

    Raises CrashError when that process crashes, before its answer or after it, and GrandoptErrors of `work`
    as EngineError. Where the system cannot fork, the work is done in this process.
    """
    if not hasattr(os, "fork"):
        return work()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The child calls compiled code and NumPy alone; of the threads that it lacks it waits for none.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(work, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as stream:
            text = stream.read()
    finally:
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise CrashError(f"crashed when it was called: its process ended with {_meaning(code)}")
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        raise EngineError(answer["error"])
    return answer


def _answer(work: Callable[[], dict[str, Any]], writing: int) -> None:
    """The child's part; it never returns."""
    code = 1
    try:
        try:
            answer = work()
        except GrandoptError as error:
            answer = {"error": str(error)}
        with os.fdopen(writing, "wb") as stream:
            stream.write(json.dumps(answer).encode())
        gc.collect()
        for _ in range(4):
            blocks = [bytearray(size) for size in HEAP_BLOCKS]
            blocks.clear()
        code = 0
    finally:
        os._exit(code)


def _meaning(code: int) -> str:
    try:
        return f"exit code {code}" if code > 0 else signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
