"""Who answers a ring's requests: the agent's own compiled code, or Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.engine.direct import DirectCalls
from grandopt.runtime.engine.version import Version
from grandopt.runtime.histogram import buckets_of
from grandopt.runtime.scheduling.workers.base import computed
from grandopt.serving.ring.channel import COUNTS, FAILED, FINISH, LAST, LATE, NAPS, NEXT, STOP, SUM, Channel
from grandopt.serving.ring.futex import fence_of_a_lock
from grandopt.serving.ring.layout import (
    ANSWER,
    ANSWER_TEXT,
    ANSWER_TEXT_BYTES,
    ANSWERS,
    CLIENT_ASLEEP,
    REQUESTS,
    SERVER_ASLEEP,
    VERSION,
    Place,
    text_field,
)
from grandopt.serving.ring.status import Status
from grandopt.signature import Array

Loop = Callable[[], bool]
"""Answers until it is told to stop; True where the client broke the protocol instead."""
NAP_NS = 250_000_000


def native_loop(version: Version, channel: Channel, spinning: Array, limit: int) -> Loop | None:
    """The loop of a native agent, which runs without the GIL; None where the engine has none.

    Artifacts of earlier releases have none either, nor one for this version of the protocol. `limit` rings
    at a time look for requests instead of sleeping, counted in `spinning`, one uint32 for the process.
    """
    inputs, outputs = _own(channel.layout.inputs), _own(channel.layout.outputs)
    bound = version.executor.bind(inputs, outputs)
    serve: Any = getattr(bound, f"serve_ring_{VERSION}", None)
    if serve is None:
        return None
    return lambda: bool(serve(channel.memory, channel.control, spinning, limit))


class PythonLoop:
    """Answers with any executor on the calling thread, which sleeps between requests; it never looks around
    for them, because it would hold the GIL. Raises UnsupportedError at once where Python has no fence."""

    def __init__(self, name: str, version: Version, channel: Channel) -> None:
        self._fence = fence_of_a_lock()
        # Whose errors are all grandopt's own.
        self._run = DirectCalls(name).timed(partial(computed, version.executor), version)
        self._channel = channel
        self._words = memoryview(channel.memory).cast("Q")
        self._halves = memoryview(channel.memory).cast("I")
        layout = channel.layout
        self._inputs = _own(layout.inputs)
        slots = range(layout.first_slot, layout.size, layout.slot_bytes)
        self._from = [views(channel.memory, slot, layout.inputs) for slot in slots]
        self._to = [views(channel.memory, slot, layout.outputs) for slot in slots]

    def __call__(self) -> bool:
        control, words, slots = self._channel.control, self._words, self._channel.layout.slots
        last = None
        while True:
            # In this order: what was sent after a wish to stop is never answered as if there were none.
            sent, stop, done = words[REQUESTS // 8], int(control[STOP]), int(control[NEXT])
            if stop == FINISH:
                sent = last = words[REQUESTS // 8] if last is None else last
            if not 0 <= sent - done <= slots:
                return True
            if (stop and stop != FINISH) or (stop and sent == done):
                return False
            if sent == done:
                self._sleep(done)
                continue
            self._answer(done, done % slots)
            control[NEXT] = words[ANSWERS // 8] = done + 1
            self._wake()

    def _sleep(self, done: int) -> None:
        control = self._channel.control
        self._halves[SERVER_ASLEEP // 4] = 1
        with self._fence:
            pass
        if self._words[REQUESTS // 8] == done and not control[STOP]:
            control[NAPS] += np.uint64(1)
            self._channel.futexes.wait(SERVER_ASLEEP, NAP_NS)
        self._halves[SERVER_ASLEEP // 4] = 0

    def _wake(self) -> None:
        with self._fence:
            pass
        if self._halves[CLIENT_ASLEEP // 4]:
            self._halves[CLIENT_ASLEEP // 4] = 0
            self._channel.futexes.wake(CLIENT_ASLEEP)

    def _answer(self, number: int, place: int) -> None:
        control, layout, words = self._channel.control, self._channel.layout, self._words
        slot = layout.first_slot + place * layout.slot_bytes
        deadline = words[slot // 8 + 1]
        begun = ended = time.monotonic_ns()
        status, text = Status.OK, ""
        if deadline and begun >= deadline:
            status, text = Status.LATE, "the deadline passed before the call"
            control[LATE] += np.uint64(1)
        else:
            status, text = self._compute(place)
            ended = time.monotonic_ns()
            if status is Status.OK:
                control[COUNTS + int(buckets_of([ended - begun])[0])] += np.uint64(1)
                control[SUM] += np.uint64(ended - begun)
            else:
                control[FAILED] += np.uint64(1)
        control[LAST] = ended
        answer = slot + layout.answer
        words[answer // 8], words[answer // 8 + 1], words[answer // 8 + 2] = number, status, ended - begun
        if text:
            told = text_field(text, ANSWER_TEXT_BYTES)
            self._channel.memory[answer + ANSWER_TEXT : answer + ANSWER] = told

    def _compute(self, place: int) -> tuple[Status, str]:
        for own, given in zip(self._inputs, self._from[place], strict=True):
            own[...] = given
        try:
            outputs = self._run([array[None] for array in self._inputs])
        except GrandoptError as error:
            return Status.FAILED, str(error)
        for output, given in zip(outputs, self._to[place], strict=True):
            if output.dtype != given.dtype or output[0].shape != given.shape:
                return Status.FAILED, f"the agent gave {output.dtype} {list(output.shape)}, not as declared"
            given[...] = output[0]
        return Status.OK, ""


def views(memory: Any, slot: int, places: tuple[Place, ...]) -> list[Array]:
    """The tensors of a slot as arrays on its memory."""
    return [
        np.frombuffer(memory, np.dtype(place.spec.dtype), place.spec.elements, slot + place.offset).reshape(
            place.spec.shape
        )
        for place in places
    ]


def _own(places: tuple[Place, ...]) -> tuple[Array, ...]:
    """Memory of the server's own for one observation, aligned as in a slot."""
    arrays = []
    for place in places:
        room = np.zeros(place.nbytes + 64, dtype=np.uint8)
        begin = -room.ctypes.data % 64
        flat = room[begin : begin + place.nbytes].view(place.spec.dtype)
        arrays.append(flat.reshape(place.spec.shape))
    return tuple(arrays)
