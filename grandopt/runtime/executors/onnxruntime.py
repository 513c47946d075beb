"""The ONNX Runtime engine: an optimised graph run by ONNX Runtime's own kernels; no torch."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError, EngineError, first_line
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.interface import Told, check_tensors
from grandopt.runtime.executors.io_binding import Binding, BoundExecutor
from grandopt.runtime.executors.options import option
from grandopt.runtime.executors.reclaim import give_back_freed_memory
from grandopt.runtime.executors.shared import Shared, contents, shared
from grandopt.signature import Array, Signature

MODEL = "model.onnx"
PROVIDERS = ("CPUExecutionProvider",)

ERRORS: tuple[type[Exception], ...] = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)
"""What ONNX Runtime raises; its own classes have no common base."""


def load(artifact: Artifact, threads: int) -> OnnxRuntimeExecutor:
    """The executor of an ONNX Runtime artifact, with `threads` threads of its own per call.

    Raises ArtifactError when ONNX Runtime cannot load the payload.
    """
    session = shared(contents(artifact, threads), lambda: _session(artifact, threads))
    return OnnxRuntimeExecutor(artifact, session)


def load_unbound(artifact: Artifact, threads: int) -> UnboundExecutor:
    """Like `load`, for comparison: every call through `InferenceSession.run`."""
    return UnboundExecutor(artifact, _session(artifact, threads))


def _session(artifact: Artifact, threads: int) -> onnxruntime.InferenceSession:
    layout = option(artifact, "layout_at_load", (True, False))
    spinning = option(artifact, "spinning", (True, False))
    try:
        session = onnxruntime.InferenceSession(
            str(artifact.payload_path(MODEL)),  # given bytes, a session keeps them for good
            session_options(threads, layout=layout, spinning=spinning),
            providers=PROVIDERS,
        )
    except ERRORS as error:
        raise ArtifactError(
            f"{artifact.path / MODEL}: ONNX Runtime {onnxruntime.__version__} cannot load it: "
            f"{first_line(error)}; build it again"
        ) from error
    give_back_freed_memory()
    return session


def session_options(threads: int, *, layout: bool, spinning: bool) -> onnxruntime.SessionOptions:
    """The options of a session for a graph that was optimised when it was built.

    `layout` does what is left: to arrange convolutions for this processor's vectors.
    """
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level.ORT_ENABLE_ALL if layout else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what fails is raised, too
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def _checked(
    artifact: Artifact, signature: Signature, session: onnxruntime.InferenceSession
) -> tuple[list[str], list[str]]:
    """The names of the graph's inputs and outputs, which are those that the manifest says."""
    sides = session.get_inputs(), session.get_outputs()
    told = [
        [Told(_DTYPES.get(item.type, item.type), [_size(size) for size in item.shape]) for item in side]
        for side in sides
    ]
    check_tensors(artifact, signature, *told)
    inputs, outputs = ([item.name for item in side] for side in sides)
    return inputs, outputs


def _size(size: object) -> int | None:
    return size if isinstance(size, int) else None  # a name stands for any


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in ("float16", "int64", "int32", "int16", "int8", "uint8", "bool")},
}


class OnnxRuntimeExecutor(BoundExecutor):
    """An agent in one session of ONNX Runtime, which many calls may share."""

    contiguous = True

    def __init__(self, artifact: Artifact, session: Shared[onnxruntime.InferenceSession]) -> None:
        manifest = artifact.manifest
        super().__init__(
            manifest.parsed_signature(),
            manifest.parsed_contract(),
            ERRORS,
            keep_nan=manifest.precision != "float32",
        )
        self._shared = session
        self._session = session.value
        self._names, self._output_names = _checked(artifact, self.signature, self._session)

    def _bind(self) -> Binding:
        inputs, outputs = self._memory()
        bound = self._session.io_binding()
        for name, array in zip(self._names, inputs, strict=True):
            bound.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in zip(self._output_names, outputs, strict=True):
            bound.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        # The two objects of C++ themselves: their Python wrappers add a tenth to a small agent's time.
        run, io = self._session._sess.run_with_iobinding, bound._iobinding
        return self._binding(inputs, outputs, lambda: run(io, None))

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(self._session.run(self._output_names, dict(zip(self._names, inputs, strict=True))))


class UnboundExecutor(Executor):
    """A float32 agent called the way ONNX Runtime's documentation shows."""

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
        manifest = artifact.manifest
        super().__init__(manifest.parsed_signature(), manifest.parsed_contract())
        self._run = session.run
        self._names, self._output_names = _checked(artifact, self.signature, session)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        try:
            return tuple(self._run(self._output_names, dict(zip(self._names, inputs, strict=True))))
        except ERRORS as error:
            raise EngineError(f"ONNX Runtime could not run the agent: {first_line(error)}") from error
