"""The OpenVINO engine: a graph compiled by OpenVINO's CPU plugin; no torch.

The artifact holds the graph, which OpenVINO can compile anywhere, and what it was compiled to when it was
built. Where that fits, nothing is compiled at load.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.mapping import MappedFile
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.interface import Told, check_tensors
from grandopt.runtime.executors.io_binding import Binding, BoundExecutor
from grandopt.runtime.executors.openvino_library import extension
from grandopt.runtime.executors.options import option
from grandopt.runtime.executors.reclaim import (
    give_back_freed_memory,
    give_back_pages,
    give_back_pages_of,
)
from grandopt.runtime.executors.shared import Shared, contents, shared
from grandopt.signature import Array, TensorSpec

openvino: Any = extension()

GRAPH = "graph.xml"
WEIGHTS = "graph.bin"
COMPILED = "graph.blob"
COMPILED_THREADS = 1
"""What was compiled at build time is for this number of threads."""
APART = {"CACHE_MODE": "OPTIMIZE_SIZE"}
"""Weights that stay as they are in WEIGHTS are not stored a second time in COMPILED."""
ELSEWHERE = "it was built for a different runtime configuration"
"""How OpenVINO says that COMPILED belongs to another of its releases or another instruction set."""
DEVICE = "CPU"

ERRORS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
"""What OpenVINO raises: errors of its C++ are RuntimeError."""


def load(artifact: Artifact, threads: int) -> OpenVinoExecutor:
    """The executor of an OpenVINO artifact, with `threads` threads per call and one call at a time on them.

    Nothing is cached on disk. Raises ArtifactError when OpenVINO cannot compile the payload.
    """
    try:
        graph = shared(contents(artifact, threads), lambda: OpenvinoGraph(artifact, threads))
    except ERRORS as error:
        raise ArtifactError(
            f"{artifact.path / GRAPH}: OpenVINO {openvino.get_version()} cannot load it: "
            f"{first_line(error)}; build it again"
        ) from error
    give_back_freed_memory()
    return OpenVinoExecutor(artifact, graph)


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


class OpenvinoGraph:
    """A graph, compiled: for one observation, and, at the first call that needs it, for any batch.

    Usable from several threads. The weights are mapped from the artifact's file; OpenVINO holds those that it
    packs for its kernels as a copy.
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        chosen = {
            "inference_precision": option(artifact, "inference_precision", ("f32", "bf16")),
            "snippets": option(artifact, "snippets", (True, False)),
        }
        self._single: bool = option(artifact, "single", (True, False))
        self._inputs = artifact.manifest.parsed_signature().inputs
        self._settings = settings(chosen, threads)
        self._graph, self._weights = artifact.payload(GRAPH), artifact.mapped(WEIGHTS)
        self._blob: MappedFile = b""  # what was restored refers to it
        self._lock = threading.Lock()
        self._dynamic: Any = None
        self.restored = False
        """Whether nothing had to be compiled at load."""
        self.one: Any = self._restored(artifact) if threads == COMPILED_THREADS else None
        if self.one is None:
            self.one = self._compiled(batch_of_one=self._single)
        if not self._single:
            self._dynamic = self.one

    def any_batch(self) -> Any:
        """The form for any batch."""
        with self._lock:
            if self._dynamic is None:
                self._dynamic = self._compiled(batch_of_one=False)
            return self._dynamic

    def _compiled(self, *, batch_of_one: bool) -> Any:
        # Memory for `Tensor` must be writeable, though OpenVINO does not write to weights.
        weights = np.frombuffer(self._weights or bytearray(1), np.uint8)
        model = core().read_model(self._graph, openvino.Tensor(weights, shared_memory=True))
        if batch_of_one:
            fix_batch(model, self._inputs)
        compiled = core().compile_model(model, DEVICE, self._settings)
        give_back_pages(self._weights)
        return compiled

    def _restored(self, artifact: Artifact) -> Any:
        """The form that was compiled at build time, or None where this OpenVINO does not take it.

        It belongs to the OpenVINO release and the instruction set that are written in it, which OpenVINO
        compares with its own. On another machine the graph is compiled, as it was when it was built.
        """
        if not any(entry.name == COMPILED for entry in artifact.manifest.payload):
            return None
        self._blob = artifact.mapped(COMPILED)
        content = np.frombuffer(self._blob, np.uint8)
        weights = str(artifact.payload_path(WEIGHTS))
        try:
            compiled = core().import_model(
                openvino.Tensor(content, shared_memory=True),
                DEVICE,
                {**self._settings, **APART, "WEIGHTS_PATH": weights},
            )
        except RuntimeError as error:
            if ELSEWHERE not in str(error):
                raise
            return None
        self.restored = True
        # Most of both files was only read to be packed.
        give_back_pages(self._blob)
        if artifact.signer is None:  # sealed copies have one name for all, so that others would be meant, too
            give_back_pages_of(Path(weights))
        return compiled


@cache
def core() -> Any:
    """The one Core of this process, which loads the CPU plugin."""
    return openvino.Core()


def fix_batch(model: Any, inputs: Sequence[TensorSpec]) -> None:
    """Make an OpenVINO model one for batches of 1."""
    model.reshape({index: [1, *spec.shape] for index, spec in enumerate(inputs)})


def compiled_form(
    graph: Path, weights: Path, options: Mapping[str, Any], inputs: Sequence[TensorSpec]
) -> bytes:
    """The payload COMPILED for the two files of a graph: what OpenVINO makes of it on this machine.

    Weights that it takes as they are stay in their file. Raises what OpenVINO raises (see ERRORS).
    """
    model = core().read_model(str(graph), str(weights))
    if options["single"]:
        fix_batch(model, inputs)
    chosen = {**settings(options, COMPILED_THREADS), **APART}
    content = io.BytesIO()
    core().compile_model(model, DEVICE, chosen).export_model(content)
    return content.getvalue()


class OpenVinoExecutor(BoundExecutor):
    """An agent compiled by OpenVINO. All calls share the compiled graph; each has a request of its own."""

    contiguous = True

    def __init__(self, artifact: Artifact, graph: Shared[OpenvinoGraph]) -> None:
        manifest = artifact.manifest
        super().__init__(
            manifest.parsed_signature(),
            manifest.parsed_contract(),
            ERRORS,
            keep_nan=manifest.precision != "float32",
        )
        self._shared = graph
        self._requests: list[Any] = []
        one = graph.value.one
        check_tensors(artifact, self.signature, _told(one.inputs), _told(one.outputs))

    def _bind(self) -> Binding:
        inputs, outputs = self._memory()
        request = self._shared.value.one.create_infer_request()
        for index, array in enumerate(inputs):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        for index, array in enumerate(outputs):
            request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        return self._binding(inputs, outputs, _call(request))

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._shared.value.any_batch().create_infer_request()
        try:
            # Copied, so that OpenVINO holds no memory of an array: where it did, one of eight threads once
            # crashed while it gave it another.
            for index, array in enumerate(inputs):
                tensor = request.get_input_tensor(index)
                tensor.shape = array.shape
                tensor.data[...] = array
            _call(request)()
            return tuple(
                [np.array(request.get_output_tensor(index).data) for index in range(len(self._outputs))]
            )
        finally:
            self._requests.append(request)


def _told(ports: Sequence[Any]) -> list[Told]:
    shapes = [port.get_partial_shape() for port in ports]
    return [
        Told(
            _DTYPES.get(port.get_element_type().get_type_name(), str(port.get_element_type())),
            None
            if shape.rank.is_dynamic
            else [size.get_length() if size.is_static else None for size in shape],
        )
        for port, shape in zip(ports, shapes, strict=True)
    ]


_DTYPES = {
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}


def _call(request: Any) -> Callable[[], object]:
    """Running a request on what is bound to it, without looking for inputs to bind or copying outputs."""
    infer = request.infer
    return lambda: infer({}, share_outputs=True, decode_strings=False)
