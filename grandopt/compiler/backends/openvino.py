"""The OpenVINO engine: the ONNX graph read by OpenVINO and saved as its own format.

`openvino.Core.read_model` is used and not `openvino.convert_model`, which reports its use to its makers
and turns a recurrent layer into one node per time step.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.onnx_graph import confirm, onnx_graph
from grandopt.compiler.backends.onnx_quantization import quantized, require_samples
from grandopt.compiler.program import Program
from grandopt.config.engines import OpenVinoOptions
from grandopt.errors import BuildError, EngineUnavailableError, UnsupportedError, first_line
from grandopt.signature import Array

NAME = "openvino"

_CARRIERS = ("Constant", "Convert", "Parameter", "Result")
"""Operators that only hold a value or change its dtype."""

_UNKNOWN = re.compile(r"No conversion rule found for operations: ([\w.:]+)")


def lower(program: Program, options: OpenVinoOptions, calibration: Sequence[Array] | None = None) -> Lowered:
    """The program as OpenVINO's `graph.xml` and `graph.bin`, with a dynamic batch, and compiled as
    `graph.blob`.

    Weights are float32, or int8 where the options quantize; that needs `calibration`, recorded samples, one
    array [n, *shape] per input. Raises EngineUnavailableError when OpenVINO, the ONNX exporter or the
    quantizer is not installed, UnsupportedError (naming the operator) when one of them cannot take the
    program, it computes in float64, the processor has no bfloat16, or there is nothing to quantize or to
    calibrate on, BuildError when OpenVINO or the quantizer fails.
    """
    try:
        import openvino

        from grandopt.runtime.executors import openvino as engine
    except ImportError as error:
        raise EngineUnavailableError(
            f"{first_line(error)}: the engine is not installed; pip install 'grandopt[openvino]'",
            remedy="pip install 'grandopt[openvino]'",
        ) from error
    core = openvino.Core()
    if options.inference_precision == "bf16":
        if options.inputs_float32:
            raise UnsupportedError(
                f"{program.name}: OpenVINO chooses itself which layers compute in bfloat16, also among those "
                f"that read raw observations"
            )
        require_bfloat16(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    graph = onnx_graph(program, NAME)
    if options.quantization == "static":
        graph = _quantized(program, graph, calibration, inputs_float32=options.inputs_float32)
    with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        path = Path(folder) / engine.GRAPH
        try:
            model = core.read_model(graph)
            require_no_float64(model)
            keep_nan(model)
            openvino.save_model(model, path, compress_to_fp16=False)
            weights = path.with_suffix(".bin")
            files = {engine.GRAPH: path.read_bytes(), engine.WEIGHTS: weights.read_bytes()}
            model = core.read_model(*files.values())
            compiled = core.compile_model(model, engine.DEVICE, engine.settings(options.model_dump(), 1))
            confirm(program, lambda inputs: list(compiled(list(inputs)).values()))
            files[engine.COMPILED] = engine.compiled_form(
                path, weights, options.model_dump(), program.signature.inputs
            )
        except engine.ERRORS as error:
            raise _translated(program, error) from error
    return Lowered(
        files=files,
        options=options.model_dump(),
        requires={"openvino": metadata.version("openvino")},
        known_defect=known_defect(model) if options.snippets else None,
    )


def _quantized(
    program: Program, graph: bytes, calibration: Sequence[Array] | None, *, inputs_float32: bool
) -> bytes:
    require_samples(program, calibration)
    try:
        from grandopt.runtime.executors.onnxruntime import ERRORS
    except ImportError as error:
        raise EngineUnavailableError(
            f"{first_line(error)}: quantizing for {NAME} takes ONNX Runtime; pip install 'grandopt[all]'",
            remedy="pip install 'grandopt[all]'",
        ) from error
    try:
        with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
            return quantized(program, graph, calibration, Path(folder), inputs_float32=inputs_float32)
    except ERRORS as error:
        raise BuildError(f"{program.name}: ONNX Runtime's quantizer failed: {first_line(error)}") from error


def require_no_float64(model: Any) -> None:
    """Raise UnsupportedError, naming an operator, where a model computes in float64.

    OpenVINO takes such a model and computes it in float32.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        types = [output.get_element_type().get_type_name() for output in node.outputs()]
        if kind not in _CARRIERS and "f64" in types:
            raise UnsupportedError(f"OpenVINO computes {kind} of float64 in float32, which is not the same")


def keep_nan(model: Any) -> None:
    """Write ReLU as `x < 0 ? 0 : x` in an OpenVINO model: its own kernel makes 0 of NaN."""
    from openvino import opset13 as opset

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Relu":
            value = node.input_value(0)
            zero = opset.convert_like(opset.constant(0.0, dtype="float32"), value)
            kept = opset.select(opset.less(value, zero), zero, value)
            kept.output(0).get_tensor().set_names(node.output(0).get_tensor().get_names())
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(kept.output(0))
    model.validate_nodes_and_infer_types()


def known_defect(model: Any) -> str | None:
    """What is known to be wrong with the kernels that OpenVINO generates for a model, or None.

    In OpenVINO 2026.4 the kernel of a whole attention, softmax(q kᵀ) v and the transposition that joins its
    heads, leaves that transposition out where it does not change the shape: with as many heads as steps.
    Found by comparing generated kernels with the plain ones over the sizes of both; no other size differs.
    """
    for node in model.get_ordered_ops():
        shape = node.get_output_partial_shape(0)
        if node.get_type_name() != "Transpose" or shape.rank.is_dynamic or len(shape) != 4:
            continue
        product = node.input_value(0).get_node()
        weights = product.input_value(0).get_node()
        heads, steps = shape[2], shape[1]
        joined = product.get_type_name() == "MatMul" and weights.get_type_name() == "Softmax"
        if joined and heads.is_static and heads == steps:
            return (
                f"OpenVINO 2026.4 mixes up heads and steps in the kernel it generates (snippets) for "
                f"attention with {heads.get_length()} of each; the variant no-snippets does not"
            )
    return None


def require_bfloat16(capabilities: Any) -> None:
    """Raise UnsupportedError unless OpenVINO says that it computes in bfloat16 on this processor."""
    if "BF16" not in capabilities:
        raise UnsupportedError(
            f"OpenVINO has no bfloat16 arithmetic on this processor (it offers {', '.join(capabilities)})"
        )


def _translated(program: Program, error: Exception) -> UnsupportedError | BuildError:
    """OpenVINO's pages of text as one line, with the operator if that is what it cannot read."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is not None:
        return UnsupportedError(f"{program.name}: OpenVINO has no form of the operator {unknown[1]}")
    return BuildError(f"{program.name}: OpenVINO failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The last line that says something: the first ones name places in OpenVINO's own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '", "While "))]
    return told[-1] if told else first_line(error)
