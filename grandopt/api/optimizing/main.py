"""The program of the process that optimizes a served model: one request in, one answer left in a folder.

The folder is its only argument. It reads its request from standard input. When that ends afterwards, the
serving process is gone or wants no answer any more, and the work is stopped as by Ctrl-C, so that it leaves
no process behind.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from grandopt.api.optimize import Optimized, optimize
from grandopt.api.optimizing.request import Answer
from grandopt.errors import GrandoptError

NICER = 10
"""How much is left to the service first, where both want a CPU (see nice(2))."""
LENGTH = struct.Struct("<Q")


def main() -> None:
    """Do what is asked."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the parent ignores it
    os.nice(NICER)
    requests = os.fdopen(os.dup(0), "rb")
    (length,) = LENGTH.unpack(requests.read(LENGTH.size))
    content = requests.read(length)
    threading.Thread(target=_watch, args=(requests,), daemon=True).start()
    arguments: dict[str, Any]
    arguments = pickle.loads(content)  # from the parent, which trusts its own model
    try:
        answer = _answered(optimize(**arguments))
    except GrandoptError as error:
        answer = Answer("failed", str(error))
    answer.write(Path(sys.argv[1]))


def _answered(done: Optimized) -> Answer:
    agent = done.agent
    if agent.status != "optimized" or agent.speedup is None:
        return Answer("original kept", agent.reason, str(done.path.absolute()))
    ratio = agent.speedup
    return Answer("optimized", None, str(done.path.absolute()), (ratio.value, ratio.low, ratio.high))


def _watch(requests: BinaryIO) -> None:
    requests.read()
    main_thread = threading.main_thread().ident
    if main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGINT)


if __name__ == "__main__":
    main()
