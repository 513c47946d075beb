"""The OpenVINO engine: a graph compiled by OpenVINO's CPU plugin when it is loaded; no torch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.allocator import give_back_freed_memory
from grandopt.runtime.executors.bound import Binding, BoundExecutor
from grandopt.runtime.executors.options import option
from grandopt.signature import Array

CONVERTER = "openvino.tools.ovc"


@contextmanager
def _without_converter() -> Iterator[None]:
    """Imports OpenVINO without its model converter, which the package tries to import and can do without.

    The converter brings a telemetry client with all of HTTP: 10 MB and a tenth of a second. It can still be
    imported by its own name afterwards.
    """
    absent: Any = None  # how Python is told that there is no such module
    hidden = "openvino" not in sys.modules and CONVERTER not in sys.modules
    if hidden:
        sys.modules[CONVERTER] = absent
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(CONVERTER, None)


with _without_converter():
    import openvino

GRAPH = "graph.xml"
WEIGHTS = "graph.bin"
DEVICE = "CPU"

ERRORS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
"""What OpenVINO raises: errors of its C++ are RuntimeError."""


def load(artifact: Artifact, threads: int) -> OpenVinoExecutor:
    """The executor of an OpenVINO artifact, with `threads` threads per call and one call at a time on them.

    Nothing is cached on disk. Raises ArtifactError when OpenVINO cannot compile the payload.
    """
    chosen = {
        "inference_precision": option(artifact, "inference_precision", ("f32", "bf16")),
        "snippets": option(artifact, "snippets", (True, False)),
    }
    single = option(artifact, "single", (True, False))
    graph, weights = artifact.payload(GRAPH), artifact.payload(WEIGHTS)
    try:
        model = openvino.Core().read_model(graph, weights)
        executor = OpenVinoExecutor(artifact, model, settings(chosen, threads), single=single)
    except ERRORS as error:
        raise ArtifactError(
            f"{artifact.path / GRAPH}: OpenVINO {openvino.__version__} cannot load it: {first_line(error)}; "
            f"build it again"
        ) from error
    give_back_freed_memory()
    return executor


def settings(options: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """The properties of the CPU plugin for `inference_precision` and `snippets` of the options."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": options["inference_precision"],
        "ENABLE_CPU_PINNING": False,  # the process's affinity is its owner's
        **({} if options["snippets"] else {"SNIPPETS_MODE": "DISABLE"}),
    }


class OpenVinoExecutor(BoundExecutor):
    """An agent compiled by OpenVINO: for one observation, and, at the first that needs it, for any batch.

    A compiled graph is shared by all calls; each call has an inference request of its own.
    """

    contiguous = True

    def __init__(
        self, artifact: Artifact, model: openvino.Model, settings: dict[str, Any], *, single: bool
    ) -> None:
        manifest = artifact.manifest
        super().__init__(
            manifest.parsed_signature(),
            manifest.parsed_contract(),
            ERRORS,
            keep_nan=manifest.precision != "float32",
        )
        self._model, self._settings = model, settings
        self._lock = threading.Lock()
        self._requests: list[Any] = []
        self._dynamic: Any = None
        self._one = self._compiled_for_one() if single else self._compiled()

    def _bind(self) -> Binding:
        inputs, outputs = self._memory()
        request = self._one.create_infer_request()
        for index, array in enumerate(inputs):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        for index, array in enumerate(outputs):
            request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        return self._binding(inputs, outputs, _call(request))

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._compiled().create_infer_request()
        try:
            for index, array in enumerate(inputs):
                owned = array if array.flags.writeable else array.copy()  # it shares no read-only memory
                request.set_input_tensor(index, openvino.Tensor(owned, shared_memory=True))
            _call(request)()
            return tuple(
                [np.array(request.get_output_tensor(index).data) for index in range(len(self._outputs))]
            )
        finally:
            self._requests.append(request)

    def _compiled(self) -> Any:
        with self._lock:
            if self._dynamic is None:
                self._dynamic = openvino.Core().compile_model(self._model, DEVICE, self._settings)
            return self._dynamic

    def _compiled_for_one(self) -> Any:
        model = self._model.clone()
        model.reshape({index: [1, *spec.shape] for index, spec in enumerate(self.signature.inputs)})
        return openvino.Core().compile_model(model, DEVICE, self._settings)


def _call(request: Any) -> Callable[[], object]:
    """Running a request on what is bound to it.

    The method under `InferRequest.infer`, which would look for inputs to bind and copy outputs to return.
    """
    infer = getattr(super(openvino.InferRequest, request), "infer")  # noqa: B009 - its base is untyped
    return lambda: infer({}, share_outputs=True, decode_strings=False)
