"""The ONNX Runtime engine: the ONNX graph, quantized if asked, and optimised once and for all.

What is saved is the graph after ONNX Runtime's extended optimisations, which hold on every processor. Only
the layout of convolutions depends on the processor; that step is left to the loading of a graph that has any.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.onnx_graph import confirm, onnx_graph
from grandopt.compiler.backends.onnx_quantization import operators, optimised, quantized, require_samples
from grandopt.compiler.backends.onnx_recurrent import keep_nan
from grandopt.compiler.program import Program
from grandopt.config.engines import OnnxRuntimeOptions
from grandopt.errors import BuildError, EngineUnavailableError, UnsupportedError, first_line
from grandopt.signature import Array

EXTRA = "onnx"
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
            f"{first_line(error)}: the engine is not installed; pip install 'grandopt[{EXTRA}]'",
            remedy=f"pip install 'grandopt[{EXTRA}]'",
        ) from error
    if options.quantization == "static":
        require_samples(program, calibration)
    graph = onnx_graph(program, EXTRA)
    try:
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            folder = Path(name)
            if options.quantization != "none":
                static = options.quantization == "static"
                seen = calibration if static else None
                graph = quantized(program, graph, seen, folder, inputs_float32=options.inputs_float32)
            else:  # where values are rounded, the executor answers what is not finite with NaN
                graph = keep_nan(graph)
            graph = optimised(graph, folder, extended=True)
        layout = bool(operators(graph) & {"Conv", "FusedConv"})
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


def _translated(program: Program, error: Exception) -> UnsupportedError | BuildError:
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        operator = unknown[1] or unknown[2]
        odd = _odd_dtypes(program)
        where = f" for {' or '.join(odd)}" if odd else ""
        return UnsupportedError(f"{program.name}: ONNX Runtime has no form of the operator {operator}{where}")
    return BuildError(f"{program.name}: ONNX Runtime failed: {first_line(error)}")


def _odd_dtypes(program: Program) -> list[str]:
    """The floating-point dtypes beside float32 that the program computes in."""
    nodes = () if program.exported is None else program.exported.graph.nodes
    found = {getattr(node.meta.get("val"), "dtype", torch.float32) for node in nodes}
    return sorted(
        str(dtype).removeprefix("torch.") for dtype in found - {torch.float32} if dtype.is_floating_point
    )
