"""The ONNX Runtime engine: the ONNX graph, quantized if asked, and optimised once and for all.

What is saved is the graph after ONNX Runtime's extended optimisations, which hold on every processor. Only
the layout of convolutions depends on the processor; that step is left to the loading of a graph that has any.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np

from grandopt.artifacts.machine import cpu_features
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.onnx_graph import confirm, onnx_graph
from grandopt.compiler.backends.onnx_recurrent import keep_nan
from grandopt.compiler.program import Program
from grandopt.config.schema import OnnxRuntimeOptions
from grandopt.errors import BuildError, EngineUnavailableError, UnsupportedError, first_line
from grandopt.signature import Array

EXTRA = "onnx"
WIDE_SUMS = frozenset({"avx_vnni", "avx512_vnni", "asimddp"})
"""Features whose int8 products are summed in 32 bits. Without one the sum of two products can overflow 16
bits, and ONNX Runtime advises weights of 7 bits (`reduce_range`)."""

CALIBRATED = 256
"""Samples that static quantization looks at, at most: it keeps all values inside the network of each."""

_UNKNOWN = re.compile(r"No Op registered for (\S+)|Could not find an implementation for (\w+)")


def lower(
    program: Program, options: OnnxRuntimeOptions, calibration: Sequence[Array] | None = None
) -> Lowered:
    """The program as `model.onnx`, optimised, weights inside, with a dynamic batch.

    `calibration` holds recorded samples, one array [n, *shape] per input; static quantization needs them.
    Raises EngineUnavailableError when ONNX Runtime or the exporter is not installed, UnsupportedError
    (naming the operator) when one of them cannot take the program, when there is nothing to quantize or
    nothing to calibrate on, and BuildError when one of them fails.
    """
    try:
        import onnxruntime

        from grandopt.runtime.executors import onnxruntime as engine
    except ImportError as error:
        raise EngineUnavailableError(
            f"{first_line(error)}: the engine is not installed; pip install 'grandopt[{EXTRA}]'"
        ) from error
    if options.quantization == "static" and calibration is None:
        raise UnsupportedError(
            f"{program.name}: static quantization measures activations on recorded samples; give 'samples'"
        )
    graph = onnx_graph(program, EXTRA)
    try:
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            folder = Path(name)
            if options.quantization != "none":
                graph = _optimised(graph, folder, extended=False)
                graph = _quantized(program, graph, options, calibration, folder)
            else:  # where values are rounded, the executor answers what is not finite with NaN
                graph = keep_nan(graph)
            graph = _optimised(graph, folder, extended=True)
        layout = bool(_operators(graph) & {"Conv", "FusedConv"})
        session = onnxruntime.InferenceSession(
            graph, engine.session_options(1, layout=layout, spinning=False), providers=engine.PROVIDERS
        )
        names = [spec.name for spec in program.signature.inputs]
        confirm(program, lambda inputs: session.run(None, dict(zip(names, inputs, strict=True))))
    except engine.ERRORS as error:
        raise _translated(program, error) from error
    return Lowered(
        files={engine.MODEL: graph},
        options={**options.model_dump(), "layout_at_load": layout},
        requires={"onnxruntime": metadata.version("onnxruntime")},
    )


def _optimised(graph: bytes, folder: Path, *, extended: bool) -> bytes:
    """The graph as ONNX Runtime rewrites it: constants folded, and operators fused if `extended`."""
    import onnxruntime

    from grandopt.runtime.executors.onnxruntime import PROVIDERS, session_options

    path = folder / f"optimised-{'extended' if extended else 'basic'}.onnx"
    level = onnxruntime.GraphOptimizationLevel
    options = session_options(1, layout=False, spinning=False)
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED if extended else level.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph, options, providers=PROVIDERS)
    return path.read_bytes()


def _quantized(
    program: Program,
    graph: bytes,
    options: OnnxRuntimeOptions,
    calibration: Sequence[Array] | None,
    folder: Path,
) -> bytes:
    from onnxruntime import quantization

    given, made = folder / "float32.onnx", folder / "int8.onnx"
    given.write_bytes(graph)
    before = _operators(graph)
    narrow = not cpu_features() & WIDE_SUMS
    with _quiet():
        if calibration is None:
            quantization.quantize_dynamic(
                given, made, weight_type=quantization.QuantType.QInt8, reduce_range=narrow
            )
        else:
            names = [spec.name for spec in program.signature.inputs]
            quantization.quantize_static(
                given,
                made,
                _reader(names, calibration),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                activation_type=quantization.QuantType.QUInt8,
                reduce_range=narrow,
            )
    quantized = made.read_bytes()
    if _operators(quantized) == before:
        raise UnsupportedError(f"{program.name}: has no layer that ONNX Runtime could make int8")
    return quantized


def _reader(names: Sequence[str], calibration: Sequence[Array]) -> object:
    """Samples one by one, as ONNX Runtime's calibration asks for them: finite ones, spread over all."""
    from onnxruntime.quantization import CalibrationDataReader

    rows = np.flatnonzero(
        np.all([np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in calibration], axis=0)
    )
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), CALIBRATED), dtype=np.int64)]

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, Array]] = iter(
                {name: array[row : row + 1] for name, array in zip(names, calibration, strict=True)}
                for row in chosen
            )

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    return Reader()


def _operators(graph: bytes) -> set[str]:
    import onnx

    return {node.op_type for node in onnx.load_from_string(graph).graph.node}


def _translated(program: Program, error: Exception) -> UnsupportedError | BuildError:
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        operator = unknown[1] or unknown[2]
        return UnsupportedError(f"{program.name}: ONNX Runtime has no form of the operator {operator}")
    return BuildError(f"{program.name}: ONNX Runtime failed: {first_line(error)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice, which it logs through the root logger, to prepare the graph first:
    that has been done."""
    root = logging.getLogger()

    def elsewhere(record: logging.LogRecord) -> bool:
        return "quantization" not in Path(record.pathname).parts

    root.addFilter(elsewhere)
    try:
        yield
    finally:
        root.removeFilter(elsewhere)
