"""Agents with a known speed, or a known fault, for measuring. They are opened in real worker processes."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import ArtifactError
from grandopt.measurement.subject import Subject
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature, TensorSpec

LOADER = "tests.fakes_measurement:load"
FILE = "fake.json"
SIGNATURE = Signature((TensorSpec("state", (3,)),), (TensorSpec("action", (1,)),))
RESULT = (np.zeros((1, 1), dtype=np.float32),)


def subject(folder: Path, label: str, kind: str, **options: Any) -> Subject:
    """Write a fake artifact below `folder` and return it as a subject."""
    path = folder / label
    path.mkdir()
    (path / FILE).write_text(json.dumps({"kind": kind, **options}))
    return Subject(label, path)


def ring(count: int = 256, batch: int = 1) -> tuple[Array]:
    """Inputs that fit SIGNATURE, all different."""
    rng = np.random.default_rng(5)
    return (rng.standard_normal((count * batch, 3)).astype(np.float32),)


def load(path: Path, *, trust: bool = False, threads: int | None = None) -> Executor:
    """The loader that the tests name to the pool."""
    options = json.loads((path / FILE).read_text())
    kind = options.pop("kind")
    if kind == "refused":
        raise ArtifactError("its digest does not fit")
    if kind == "environment":
        (path / "seen.json").write_text(json.dumps({"env": dict(os.environ), "threads": threads}))
        kind = "instant"
    return KINDS[kind](**options)


class Instant(Executor):
    """Takes as long as a Python call takes."""

    def __init__(self) -> None:
        super().__init__(SIGNATURE)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return RESULT


class Spin(Instant):
    """Keeps a core busy for `us` microseconds; each call takes `growth` times as long as the one before."""

    def __init__(self, us: float, growth: float = 1.0) -> None:
        super().__init__()
        self._ns = us * 1e3
        self._growth = growth

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        end = time.perf_counter_ns() + self._ns
        while time.perf_counter_ns() < end:
            pass
        self._ns *= self._growth
        return RESULT


class Loop(Instant):
    """Adds so many numbers up at each call: always the same instructions."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        total = 0
        for number in range(self._count):
            total += number
        return RESULT


class Nap(Instant):
    """Sleeps for `ms` milliseconds: takes time, but no processor."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self._s = ms / 1e3

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        time.sleep(self._s)
        return RESULT


class Diary(Instant):
    """Writes down which inputs it was given, and in which shapes."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = Path(file)
        self._seen: dict[bytes, int] = {}
        self._shapes: set[tuple[int, ...]] = set()

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        key = inputs[0].tobytes()
        self._seen[key] = self._seen.get(key, 0) + 1
        self._shapes.add(inputs[0].shape)
        return RESULT

    def close(self) -> None:
        self._file.write_text(json.dumps({"counts": list(self._seen.values()), "shapes": list(self._shapes)}))


class Fault(Instant):
    """Goes wrong at the call number `at`."""

    def __init__(self, how: str, at: int = 5) -> None:
        super().__init__()
        self._how = how
        self._left = at

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self._left -= 1
        if self._left == 0:
            match self._how:
                case "exit":
                    sys.stderr.write("first line\nout of luck\n")
                    sys.stderr.flush()
                    os._exit(3)
                case "raise":
                    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
                case "hang":
                    time.sleep(600)
                case "print":
                    os.write(1, b"hello from a library\n")
                    sys.stdout.write("and from Python\n")
                case "garbage":
                    _write_to_pipes(b"not an answer\n")
        return RESULT


def _write_to_pipes(text: bytes) -> None:
    for descriptor in range(3, 32):
        try:
            pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
            writeable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_WRONLY
        except OSError:
            continue
        if pipe and writeable:
            os.write(descriptor, text)


class Scribbler(Instant):
    """Writes into what it is given."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        inputs[0][...] = 0
        return RESULT


class Reuser(Instant):
    """Answers in the same array every time."""

    def __init__(self) -> None:
        super().__init__()
        self._output = np.zeros((1, 1), dtype=np.float32)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self._output += 1
        return (self._output,)


class Into(Instant):
    """Takes no time to run, and `us` microseconds to run into an array."""

    def __init__(self, us: float, wrong: bool = False) -> None:
        super().__init__()
        self._spin = Spin(us)
        self._answer = float(wrong)

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self._spin.run(inputs)
        outputs[0][...] = self._answer


KINDS = {
    "instant": Instant,
    "spin": Spin,
    "loop": Loop,
    "nap": Nap,
    "diary": Diary,
    "fault": Fault,
    "scribbler": Scribbler,
    "reuser": Reuser,
    "into": Into,
}
