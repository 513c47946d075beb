"""LiteRT with XNNPACK, in an environment of its own: measured in benchmarks, never shipped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from grandopt.runtime.executors.io_binding import Binding
from grandopt.runtime.executors.prepared import PreparedExecutor, opened
from grandopt.signature import Array, Signature

SUFFIX = ".tflite"
ERRORS = (RuntimeError, ValueError, TypeError)


def load(path: Path | str, *, trust: bool = False, threads: int | None = None) -> PreparedExecutor:
    """The executor of the folder that `compiler.backends.litert` wrote.

    `trust` has no meaning here: nothing is unpickled. Raises ArtifactError when LiteRT cannot load a model.
    """
    return opened(Path(path), SUFFIX, partial(LiteRtExecutor, threads=threads or 1))


def load_keeping_nan(
    path: Path | str, *, trust: bool = False, threads: int | None = None
) -> PreparedExecutor:
    """The same with NaN for inputs that are not finite, which int8 kernels turn into numbers."""
    make = partial(LiteRtExecutor, threads=threads or 1, keep_nan=True)
    return opened(Path(path), SUFFIX, make)


class LiteRtExecutor(PreparedExecutor):
    """Inputs are written into the interpreter's own memory and outputs copied out of it.

    `set_tensor`, `invoke` and `get_tensor` do the same and take a third longer; its `invoke` refuses while
    anything refers to that memory, so that the object of C++ under it is called.
    """

    def __init__(
        self, signature: Signature, models: dict[int, Path], threads: int, keep_nan: bool = False
    ) -> None:
        super().__init__(signature, models, ERRORS, keep_nan=keep_nan)
        self._threads = threads

    def _open(self, model: Path) -> Binding:
        interpreter = Interpreter(model_path=str(model), num_threads=self._threads)
        interpreter.allocate_tensors()
        inner = interpreter._interpreter

        def views(details: Sequence[dict[str, int]]) -> list[Array]:
            return [inner.tensor(interpreter, item["index"], 0) for item in details]

        inputs = views(interpreter.get_input_details())
        return self._binding(inputs, views(interpreter.get_output_details()), inner.Invoke)
