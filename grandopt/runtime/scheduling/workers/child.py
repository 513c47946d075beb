"""The program of a worker process: loads the agent once, then computes batches in shared memory.

Its arguments are file numbers and a CPU, see `Arrangement`. It waits in the kernel for the next packet, and
ends with its socket, or at once, whatever it is doing, when its parent ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from grandopt.errors import SignatureError
from grandopt.runtime.scheduling.workers.affinity import pin
from grandopt.runtime.scheduling.workers.messages import LONGEST_TASK, Kind, Task, failure
from grandopt.runtime.scheduling.workers.slots import Layout, Views
from grandopt.signature import Signature

if TYPE_CHECKING:
    from grandopt.runtime.executors.base import Executor

Made = TypeVar("Made")


@dataclass(frozen=True)
class Arrangement:
    """Numbers of open files: a pickle of the signature and of what makes the agent, the socket, and a pipe
    that nothing is written to and that ends with the parent; and the CPU to run on, -1 for any."""

    agent: int
    socket: int
    lifeline: int
    cpu: int

    def arguments(self) -> list[str]:
        """Of the command line."""
        return [str(number) for number in (self.agent, self.socket, self.lifeline, self.cpu)]

    @classmethod
    def parsed(cls, arguments: list[str]) -> Arrangement:
        """The inverse of `arguments`."""
        return cls(*map(int, arguments))


def main(arguments: list[str]) -> None:
    """Serve until the parent hangs up."""
    given = Arrangement.parsed(arguments)
    _end_with(given.lifeline)
    sock = socket.socket(fileno=given.socket)

    def opened() -> tuple[Signature, Executor]:
        pin(None if given.cpu < 0 else given.cpu)
        return _load(given.agent)

    loaded = _attempt(opened)
    if isinstance(loaded, BaseException):
        sock.send(failure(Kind.UNLOADABLE, loaded))
        return
    signature, executor = loaded
    sock.send(bytes([Kind.READY]))
    try:
        _serve(sock, signature, executor)
    finally:
        executor.close()


def _end_with(lifeline: int) -> None:
    """Have the kernel kill this process when the pipe's other end closes, even in the middle of a call.

    A parent-death signal would come when the thread ends that started this process.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(lifeline, 1)
    except BlockingIOError:
        return
    os.kill(os.getpid(), signal.SIGKILL)  # the parent was gone before


def _load(agent: int) -> tuple[Signature, Executor]:
    with mmap.mmap(agent, 0, prot=mmap.PROT_READ) as written:
        signature, make = pickle.loads(written)
    os.close(agent)
    executor = make()
    if executor.signature != signature:
        raise SignatureError(
            "the agent that the worker has loaded takes or gives other tensors than the one that it is to "
            "compute: was its artifact replaced by another agent's?"
        )
    return signature, executor


def _attempt(call: Callable[[], Made]) -> Made | BaseException:
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - the agent's own code; its error goes to whoever asked
        return error


def _serve(sock: socket.socket, signature: Signature, executor: Executor) -> None:
    slots: dict[int, Views] = {}
    while True:
        packet, files, _, _ = socket.recv_fds(sock, LONGEST_TASK, 1)
        if not packet:
            return
        task = Task.unpacked(packet)
        for number in task.forget:
            slots.pop(number, None)
        if files:
            layout = Layout(signature, task.capacity)
            slots[task.slot] = Views(layout, mmap.mmap(files[0], layout.size))
            os.close(files[0])
        inputs, outputs = slots[task.slot].of(task.rows)
        error = _attempt(lambda: executor.run_into(inputs, outputs))  # noqa: B023 - called before the next
        sock.send(bytes([Kind.DONE]) if error is None else failure(Kind.FAILED, error))


if __name__ == "__main__":
    main(sys.argv[1:])
