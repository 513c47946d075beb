"""MNN, in an environment of its own: measured in benchmarks, never shipped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import MNN

from grandopt.runtime.executors.io_binding import Binding
from grandopt.runtime.executors.prepared import PreparedExecutor, opened
from grandopt.signature import Signature

SUFFIX = ".mnn"
ERRORS = (RuntimeError, ValueError, TypeError)
FASTER = "low-precision"
"""The file that asks for MNN's lower precision."""


def load(path: Path | str, *, trust: bool = False, threads: int | None = None) -> PreparedExecutor:
    """The executor of the folder that `compiler.backends.mnn` wrote.

    `trust` has no meaning here: nothing is unpickled. Raises ArtifactError when MNN cannot load a model.
    """
    return _opened(Path(path), threads, keep_nan=False)


def load_keeping_nan(
    path: Path | str, *, trust: bool = False, threads: int | None = None
) -> PreparedExecutor:
    """The same with NaN for inputs that are not finite, which MNN's kernels turn into numbers."""
    return _opened(Path(path), threads, keep_nan=True)


def _opened(folder: Path, threads: int | None, *, keep_nan: bool) -> PreparedExecutor:
    precision = "low" if (folder / FASTER).exists() else "high"
    make = partial(MnnExecutor, threads=threads or 1, precision=precision, keep_nan=keep_nan)
    return opened(folder, SUFFIX, make)


class MnnExecutor(PreparedExecutor):
    """Inputs are written into the session's own memory and outputs copied out of it.

    `copyFrom` with a tensor of the caller's, and modules with variables, take a third longer.
    """

    def __init__(
        self, signature: Signature, models: dict[int, Path], threads: int, precision: str, *, keep_nan: bool
    ) -> None:
        super().__init__(signature, models, ERRORS, keep_nan=keep_nan)
        self._settings = {"numThread": threads, "backend": "CPU", "precision": precision}
        self._kept: list[object] = []  # interpreters own what sessions run

    def _open(self, model: Path) -> Binding:
        interpreter = MNN.Interpreter(str(model))
        session = interpreter.createSession(self._settings)
        self._kept.append(interpreter)
        inputs = [
            interpreter.getSessionInput(session, f"input{place}").getNumpyData()
            for place in range(len(self.signature.inputs))
        ]
        outputs = [
            interpreter.getSessionOutput(session, f"output{place}").getNumpyData()
            for place in range(len(self.signature.outputs))
        ]
        return self._binding(inputs, outputs, partial(interpreter.runSession, session))
