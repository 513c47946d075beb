"""What it costs to have something computed elsewhere: the way there and back, without the computation.

Measured once per process, in an event loop as the workers': being woken is most of it. The first quartile of
many ways counts: whatever else runs here only adds.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from queue import SimpleQueue

import numpy as np

from grandopt.errors import UnsupportedError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.messages import Task
from grandopt.runtime.scheduling.workers.slots import Layout, Slots, Views
from grandopt.signature import Array, Signature

WAYS = 100
_ECHO = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as sock:
    while packet := sock.recv(64):
        sock.send(packet)
"""
Clock = Callable[[], int]


@lru_cache(maxsize=1)
def thread_hop_ns(clock: Clock = time.perf_counter_ns) -> int:
    """Nanoseconds to have a thread answer an event loop."""
    return _in_a_loop(_to_a_thread(clock))


@lru_cache(maxsize=1)
def process_hop_ns(clock: Clock = time.perf_counter_ns) -> int:
    """Nanoseconds to have a process answer an event loop, through a socket like that of the workers.

    Raises UnsupportedError where no process can be started.
    """
    return _in_a_loop(_to_a_process(clock))


def _in_a_loop(measuring: Coroutine[None, None, int]) -> int:
    """In a thread of its own: the caller's has an event loop already."""
    with ThreadPoolExecutor(1, "grandopt-hop") as thread:
        return thread.submit(asyncio.run, measuring).result()


async def _to_a_thread(clock: Clock) -> int:
    loop = asyncio.get_running_loop()
    work: SimpleQueue[asyncio.Future[None] | None] = SimpleQueue()

    def answer() -> None:
        while (asked := work.get()) is not None:
            loop.call_soon_threadsafe(asked.set_result, None)

    def way() -> asyncio.Future[None]:
        asked: asyncio.Future[None] = loop.create_future()
        work.put(asked)
        return asked

    thread = threading.Thread(target=answer, name="grandopt-hop", daemon=True)
    thread.start()
    try:
        return await _first_quartile(way, clock)
    finally:
        work.put(None)
        thread.join()


async def _to_a_process(clock: Clock) -> int:
    loop = asyncio.get_running_loop()
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
        ours.setblocking(False)
        asked: asyncio.Future[None] = loop.create_future()

        def answered() -> None:
            if ours.recv(64):
                asked.set_result(None)
            else:
                loop.remove_reader(ours)
                asked.set_exception(UnsupportedError("a process that was to be measured ended at once"))

        def way() -> asyncio.Future[None]:
            nonlocal asked
            asked = loop.create_future()
            ours.send(b"\0")
            return asked

        loop.add_reader(ours, answered)
        with process:
            try:
                return await _first_quartile(way, clock)
            finally:
                loop.remove_reader(ours)
                ours.close()


async def _first_quartile(way: Callable[[], Awaitable[None]], clock: Clock) -> int:
    await way()  # which may wait for a start
    taken = []
    for _ in range(WAYS):
        began = clock()
        await way()
        taken.append(clock() - began)
    return sorted(taken)[WAYS // 4]


def handling_ns(signature: Signature, rows: int, clock: Clock = time.perf_counter_ns) -> int:
    """Nanoseconds that both sides take for a batch beside its computation and being woken.

    That is memory for it, the messages, and what copies outputs.
    """
    slots, silent = Slots(signature, rows, 1), _Silent(signature, rows)
    views = Views(Layout(signature, rows), mmap.mmap(-1, Layout(signature, rows).size))
    taken = []
    for _ in range(WAYS):
        began = clock()
        slot, held = slots.holding(slots.lease(rows))
        task = Task.unpacked(Task(slot.number, slot.capacity, len(held[0])).packed())
        silent.run_into(*views.of(task.rows))
        slot.outputs(rows)
        taken.append(clock() - began)
        del held
    slots.close()
    return sorted(taken)[WAYS // 4]


class _Silent(Executor):
    """Computes nothing."""

    def __init__(self, signature: Signature, rows: int) -> None:
        super().__init__(signature)
        self._outputs = tuple(np.zeros((rows, *spec.shape), spec.dtype) for spec in signature.outputs)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return self._outputs
