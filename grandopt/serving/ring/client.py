"""Asks an agent of a server on the same machine through shared memory."""

from __future__ import annotations

import mmap
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from grandopt.errors import SignatureError
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.ring.asking import connected, text_of
from grandopt.serving.ring.futex import Futexes, fence_of_a_lock
from grandopt.serving.ring.layout import (
    ANSWER,
    ANSWER_TEXT,
    ANSWERS,
    CLIENT_ASLEEP,
    CLOSED,
    REQUESTS,
    SERVER_ASLEEP,
    TEXT,
    WHY,
    Layout,
    Place,
    layout_in,
)
from grandopt.serving.ring.status import error_of
from grandopt.signature import FITS, Array, Signature

NAP_NS = 100_000_000
"""How long the client sleeps at most before it looks whether the server is still there."""


class RingClient:
    """An agent behind a ring, as a function of one observation: `action = client(observation)`.

    It belongs to one thread at a time. Several requests may be under way: `send`, again, then `receive` once
    for each, in their order. `timeout_s` of a call is the deadline that the server knows, too; without one
    the client waits as long as the server is there. `spin_us` is how long an answer is looked for before the
    client sleeps.

    Raises ProtocolError where there is no server, no such agent or no room, and for what the server refuses;
    SignatureError for an observation that does not fit; UnsupportedError on a machine that is no x86-64.
    """

    def __init__(self, path: Path | str, agent: str, *, slots: int = 0, spin_us: float = 20.0) -> None:
        self._fence = fence_of_a_lock()
        self._spin_ns = int(spin_us * 1000)
        self._socket, self._memory = connected(str(path), agent, slots)
        self._futexes = Futexes(self._memory)
        self._layout: Layout = layout_in(memoryview(self._memory))
        layout = self._layout
        self.signature = Signature(
            tuple(place.spec for place in layout.inputs), tuple(place.spec for place in layout.outputs)
        )
        """The agent's inputs and outputs, of one observation."""
        self._words = memoryview(self._memory).cast("Q")
        self._halves = memoryview(self._memory).cast("I")
        begins = [layout.first_slot + i * layout.slot_bytes for i in range(layout.slots)]
        self._in = [_views(self._memory, begin, layout.inputs) for begin in begins]
        self._out = [_views(self._memory, begin, layout.outputs) for begin in begins]
        self._deadlines = [begin // 8 + 1 for begin in begins]
        self._states = [(begin + layout.answer) // 8 + 1 for begin in begins]
        self._most = layout.slots - 1
        self._mask = layout.slots - 1
        self._sent = self._taken = self._abandoned = 0
        first = self.signature.inputs[0]
        self._dtype, self._shape = np.dtype(first.dtype), first.shape
        self._lone = len(layout.inputs) == 1
        self._single = len(layout.outputs) == 1

    @property
    def under_way(self) -> int:
        """Requests that were sent and whose answers were not received."""
        return self._sent - self._taken - self._abandoned

    @property
    def room(self) -> int:
        """How many requests may be under way at once."""
        return self._most

    def __call__(self, *observation: Any, timeout_s: float | None = None) -> Any:
        """The answer: an array, or a tuple of them for an agent with several outputs, the caller's own."""
        self._ask(observation, timeout_s)
        outputs = self._answered(timeout_s)
        return outputs[0].copy() if self._single else tuple(output.copy() for output in outputs)

    def run_into(self, inputs: Any, outputs: Any, *, timeout_s: float | None = None) -> None:
        """The same, written to arrays of exactly the declared shapes and dtypes."""
        if len(outputs) != len(self.signature.outputs):
            raise SignatureError(f"expected {len(self.signature.outputs)} output(s), got {len(outputs)}")
        for spec, output in zip(self.signature.outputs, outputs, strict=True):
            if output.dtype != spec.dtype or output.shape != spec.shape:
                raise SignatureError(
                    f"{spec.name}: expected {spec.dtype} {list(spec.shape)}, got {output.dtype} "
                    f"{list(output.shape)}"
                )
        self._ask(inputs, timeout_s)
        for output, answer in zip(outputs, self._answered(timeout_s), strict=True):
            output[...] = answer

    def send(self, *observation: Any, timeout_s: float | None = None) -> None:
        """Send one observation; raises ProtocolError where `room` requests are under way already."""
        place = self._sent & self._mask
        if self._sent - self._taken >= self._most:
            raise ProtocolError(
                Code.OVERLOADED, f"{self._most} requests are under way; receive an answer first"
            )
        views = self._in[place]
        value = observation[0] if self._lone and len(observation) == 1 else None
        if (
            type(value) is np.ndarray
            and value.dtype is self._dtype
            and value.shape == self._shape
            and value.flags.num & FITS == FITS
        ):
            views[0][...] = value
        else:
            for view, given in zip(views, self._prepared(observation), strict=True):
                view[...] = given
        limit = 0 if timeout_s is None else time.monotonic_ns() + max(1, int(timeout_s * 1e9))
        words = self._words
        words[self._deadlines[place]] = limit
        self._sent = words[REQUESTS // 8] = self._sent + 1
        with self._fence:
            pass
        if self._halves[SERVER_ASLEEP // 4]:
            self._halves[SERVER_ASLEEP // 4] = 0
            self._futexes.wake(SERVER_ASLEEP)

    def receive(self, timeout_s: float | None = None) -> Any:
        """The answer to the oldest request under way; raises ProtocolError where there is none."""
        outputs = self._answered(timeout_s)
        return outputs[0].copy() if self._single else tuple(output.copy() for output in outputs)

    def close(self) -> None:
        """Give the ring back. Twice is allowed; asking afterwards is not."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            self._in, self._out = [], []
            self._words.release()
            self._halves.release()
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, observation: Any, timeout_s: float | None) -> None:
        if self._sent - self._taken > self._abandoned:
            raise ProtocolError(Code.INVALID, "requests are under way; receive their answers first")
        if self._abandoned >= self._most:  # of calls that were given up
            self._drain(timeout_s)
        self.send(*observation, timeout_s=timeout_s)

    def _drain(self, timeout_s: float | None) -> None:
        while self._abandoned:
            self._await(0 if timeout_s is None else time.monotonic_ns() + int(timeout_s * 1e9))
            self._taken += 1
            self._abandoned -= 1

    def _answered(self, timeout_s: float | None) -> list[Array]:
        """The outputs of the oldest request in its slot's memory, where they stay until the next `send`."""
        if self._sent - self._taken <= self._abandoned:
            raise ProtocolError(Code.INVALID, "no request is under way; send one first")
        limit = 0 if timeout_s is None else time.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            if self._words[ANSWERS // 8] == self._taken:
                try:
                    self._await(limit)
                except ProtocolError:
                    self._abandoned += 1  # the answer may come yet, and nobody waits for it
                    raise
            place = self._taken & self._mask
            self._taken += 1
            if not self._abandoned:
                break
            self._abandoned -= 1
        status = self._words[self._states[place]] & 0xFFFFFFFF
        if status:
            begin = (self._states[place] - 1) * 8
            raise error_of(status, text_of(self._memory[begin + ANSWER_TEXT : begin + ANSWER]))
        return self._out[place]

    def _await(self, limit: int) -> None:
        """Wait for one more answer; raises ProtocolError when there will be none, or none in time."""
        words, taken, now = self._words, self._taken, time.monotonic_ns
        awake = now() + self._spin_ns
        while words[ANSWERS // 8] == taken:
            if now() < awake:
                continue
            closed = self._halves[CLOSED // 4]
            if words[ANSWERS // 8] != taken:
                return
            if closed:
                raise error_of(closed, text_of(self._memory[WHY : WHY + TEXT]))
            left = limit - now() if limit else NAP_NS
            if left <= 0:
                raise ProtocolError(Code.LATE, "no answer in time")
            self._sleep(taken, min(left, NAP_NS))
            if words[ANSWERS // 8] == taken and not self._halves[CLOSED // 4] and self._hung_up():
                raise ProtocolError(Code.UNAVAILABLE, "the server went away")

    def _sleep(self, taken: int, ns: int) -> None:
        self._halves[CLIENT_ASLEEP // 4] = 1
        with self._fence:
            pass
        if self._words[ANSWERS // 8] == taken:
            self._futexes.wait(CLIENT_ASLEEP, ns)
        self._halves[CLIENT_ASLEEP // 4] = 0

    def _hung_up(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _prepared(self, observation: Any) -> list[Array]:
        arrays, batched = self.signature.prepare(observation)
        if batched:
            raise SignatureError("a ring takes one observation at a time, without a batch")
        return [array[0] for array in arrays]


def _views(memory: mmap.mmap, begin: int, places: tuple[Place, ...]) -> list[Array]:
    return [
        np.frombuffer(memory, place.spec.dtype, place.spec.elements, begin + place.offset).reshape(
            place.spec.shape
        )
        for place in places
    ]
