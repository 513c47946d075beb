"""An ONNX graph made int8 by ONNX Runtime's quantizer, which serves every engine that reads ONNX.

OpenVINO has a quantizer of its own (NNCF), which brings SciPy and scikit-learn; the models that this one
writes, with pairs of QuantizeLinear and DequantizeLinear around each product, it runs as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from grandopt.artifacts.machine import cpu_features
from grandopt.compiler.program import Program
from grandopt.errors import UnsupportedError
from grandopt.signature import Array

WIDE_SUMS = frozenset({"avx_vnni", "avx512_vnni", "asimddp"})
"""Features whose int8 products are summed in 32 bits. Without one the sum of two products can overflow 16
bits, and ONNX Runtime advises weights of 7 bits (`reduce_range`)."""

PRODUCTS = frozenset(
    {"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Einsum", "Attention", "FusedMatMul"}
)
"""ONNX's products: what comes out of one is no raw observation any more."""

CALIBRATED = 256
"""Samples that static quantization looks at, at most: it keeps all values inside the network of each."""


def require_samples(program: Program, calibration: Sequence[Array] | None) -> None:
    """Raise UnsupportedError unless there are samples for static quantization."""
    if calibration is None:
        raise UnsupportedError(
            f"{program.name}: static quantization measures activations on recorded samples; give 'samples'"
        )


def quantized(
    program: Program,
    graph: bytes,
    calibration: Sequence[Array] | None,
    folder: Path,
    *,
    inputs_float32: bool = False,
) -> bytes:
    """The ONNX graph with int8 products, by ONNX Runtime's quantizer; `folder` takes its files.

    With `inputs_float32` the nodes that read raw observations stay as they are.

    With `calibration`, recorded samples, ranges of activations are those of the samples (QDQ form, which
    OpenVINO reads, too); without, ONNX Runtime measures them at each call. Raises UnsupportedError when there
    is nothing to quantize, and what ONNX Runtime raises (see its executor's ERRORS).
    """
    from onnxruntime import quantization

    graph = optimised(graph, folder, extended=False)
    exact: list[str] = []
    if inputs_float32:
        graph, exact = observing(graph)
    given, made = folder / "float32.onnx", folder / "int8.onnx"
    given.write_bytes(graph)
    before = operators(graph)
    narrow = not cpu_features() & WIDE_SUMS
    with _quiet():
        if calibration is None:
            quantization.quantize_dynamic(
                given,
                made,
                weight_type=quantization.QuantType.QInt8,
                reduce_range=narrow,
                nodes_to_exclude=exact,
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
                nodes_to_exclude=exact,
            )
    quantized = made.read_bytes()
    if operators(quantized) - before <= {"MatMul", "Add"}:  # what a Gemm may have become, and no more
        besides = " besides those that read raw observations" if exact else ""
        raise UnsupportedError(f"{program.name}: has no layer that ONNX Runtime could make int8{besides}")
    return quantized


def observing(graph: bytes) -> tuple[bytes, list[str]]:
    """The graph with a name for every node, and the names of those that read raw observations: those that an
    input reaches without passing a product."""
    import onnx

    model = onnx.load_from_string(graph)
    constants = {item.name for item in model.graph.initializer}
    raw = {item.name for item in model.graph.input if item.name not in constants}
    reading = []
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
        if any(name in raw for name in node.input):
            # A Gemm may become this MatMul and an addition before anything is quantized.
            reading += [node.name, f"{node.name}_MatMul"]
            if node.op_type not in PRODUCTS:
                raw.update(node.output)
    return model.SerializeToString(), reading


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


def optimised(graph: bytes, folder: Path, *, extended: bool) -> bytes:
    """The ONNX graph as ONNX Runtime rewrites it: constants folded, and operators fused if `extended`."""
    import onnxruntime

    from grandopt.runtime.executors.onnxruntime import PROVIDERS, session_options

    path = folder / f"optimised-{'extended' if extended else 'basic'}.onnx"
    level = onnxruntime.GraphOptimizationLevel
    options = session_options(1, layout=False, spinning=False)
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED if extended else level.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph, options, providers=PROVIDERS)
    return path.read_bytes()


def operators(graph: bytes) -> set[str]:
    """The operators in an ONNX graph, by name."""
    import onnx

    return {node.op_type for node in onnx.load_from_string(graph).graph.node}


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
