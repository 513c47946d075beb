"""What it costs to have something computed elsewhere: the way there and back, without the computation.

Measured once per process. The first quartile of many ways counts: whatever else runs here only adds.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from queue import SimpleQueue

import numpy as np

from grandopt.errors import UnsupportedError
from grandopt.signature import Array, Signature

WAYS = 100
_ECHO = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as sock:
    while packet := sock.recv(64):
        sock.send(packet)
"""


@lru_cache(maxsize=1)
def thread_hop_ns(clock: Callable[[], int] = time.perf_counter_ns) -> int:
    """Nanoseconds to wake a thread and to be woken by it through a file, as an event loop is."""
    work: SimpleQueue[bool] = SimpleQueue()
    reading, writing = os.pipe()

    def answer() -> None:
        while work.get():
            os.write(writing, b"\0")

    def way() -> None:
        work.put(True)
        os.read(reading, 1)

    thread = threading.Thread(target=answer, name="grandopt-hop", daemon=True)
    thread.start()
    try:
        return first_quartile(way, WAYS, clock)
    finally:
        work.put(False)
        thread.join()
        os.close(reading)
        os.close(writing)


@lru_cache(maxsize=1)
def process_hop_ns(clock: Callable[[], int] = time.perf_counter_ns) -> int:
    """Nanoseconds to wake a process and to be woken by it, through a socket like that of the workers.

    Raises UnsupportedError where no process can be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ECHO, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise UnsupportedError(f"cannot start a process: {error}") from error
        theirs.close()

        def way() -> None:
            ours.send(b"\0")
            if not ours.recv(64):
                raise UnsupportedError("a process that was started to be measured ended at once")

        with process:
            try:
                return first_quartile(way, WAYS, clock)
            finally:
                ours.close()


def copy_ns(signature: Signature, rows: int, clock: Callable[[], int] = time.perf_counter_ns) -> int:
    """Nanoseconds to copy the outputs of so many observations; inputs are written in place."""
    outputs: Sequence[Array] = [np.zeros((rows, *spec.shape), spec.dtype) for spec in signature.outputs]
    return first_quartile(lambda: [output.copy() for output in outputs], WAYS, clock)


def first_quartile(call: Callable[[], object], times: int, clock: Callable[[], int]) -> int:
    """Of the nanoseconds of so many calls, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        began = clock()
        call()
        taken.append(clock() - began)
    return sorted(taken)[times // 4]
