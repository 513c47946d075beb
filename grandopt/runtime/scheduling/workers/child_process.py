"""One worker process, as the event loop holds it."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from typing import Protocol

from grandopt.runtime.scheduling.workers.child import Arrangement
from grandopt.runtime.scheduling.workers.messages import FORGOTTEN, LONGEST, Task
from grandopt.runtime.scheduling.workers.slots import Slot

_PROGRAM = "grandopt.runtime.scheduling.workers.child"
_PATIENCE_S = 5.0
"""Seconds between a worker's farewell and its end; more, and it is killed."""


class Listener(Protocol):
    """Who is told what a worker does, in the event loop's thread."""

    def heard(self, child: ChildProcess, packet: bytes) -> None:
        """A packet has come."""

    def gone(self, child: ChildProcess, how: str) -> None:
        """It has ended, which is told once and last; `how` names its signal or exit code."""


class ChildProcess:
    """A process that was started, and ends with this one.

    It has this process's interpreter and `sys.path` with the current folder added, and a session of its own,
    so that Ctrl-C in a terminal reaches only the parent. What it prints goes to standard error. The event
    loop hears of its packets and of its end; nothing asks it in turns.

    It belongs to one event loop. Raises OSError when the system refuses another process.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, agent: int, cpu: int | None, listener: Listener
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._known: set[int] = set()
        self._heard = memoryview(bytearray(LONGEST))
        self.alive = True
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, self._lifeline = os.pipe()
        files = Arrangement(agent, theirs.fileno(), reading, -1 if cpu is None else cpu)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _PROGRAM, *files.arguments()],
                pass_fds=(files.agent, files.socket, files.lifeline),
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**os.environ, "PYTHONPATH": _search_path()},
                start_new_session=True,
            )
            # Tells its end, also where the socket lives on in a process that it has started.
            self._end = os.pidfd_open(self._process.pid)
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(reading)
        ours.setblocking(False)
        self._socket = ours
        loop.add_reader(ours, self._hear)
        loop.add_reader(self._end, self._ended)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, slot: Slot, rows: int, there: Set[int]) -> None:
        """Have it compute the first rows of a slot, and forget slots that are no longer `there`."""
        forget = tuple(self._known - there)[:FORGOTTEN]
        self._known.difference_update(forget)
        packet = [Task(slot.number, slot.capacity, rows, forget).packed()]
        files = []
        if slot.number not in self._known:
            self._known.add(slot.number)
            files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [slot.file]))]
        try:
            self._socket.sendmsg(packet, files)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has just ended, of which the loop will tell

    def end(self) -> None:
        """Have it end once it has done what it was asked for; `gone` tells when it has."""
        if self.alive:
            self._socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it now."""
        if self.alive:
            self._process.kill()

    def _hear(self) -> None:
        packet = self._packet()
        if packet:
            self._listener.heard(self, packet)
        elif packet is not None:  # it hung up, and ends
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_PATIENCE_S, self.kill)

    def _packet(self) -> bytes | None:
        """The next packet: empty once it has hung up, None before it has said anything more."""
        try:
            return self._heard[: self._socket.recv_into(self._heard)].tobytes()
        except BlockingIOError:
            return None
        except ConnectionResetError:  # it ended before it had read what was sent
            return b""

    def _ended(self) -> None:
        self.alive = False
        self._loop.remove_reader(self._end)
        self._loop.remove_reader(self._socket)
        try:
            while packet := self._packet():  # its last words
                self._listener.heard(self, packet)
        finally:
            code = self._process.wait()
            os.close(self._end)
            os.close(self._lifeline)
            self._socket.close()
            self._listener.gone(self, _meaning(code))


def _search_path() -> str:
    # The current folder comes last: the code of an agent may lie there, but must not hide a library.
    return os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in [*sys.path, ""]))


def _meaning(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
