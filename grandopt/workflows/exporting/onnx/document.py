"""The bytes of the file: the graph of the program, with what its host wants around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from grandopt.compiler.backends.onnx_graph import onnx_graph
from grandopt.compiler.checkpoints.onnx.stated import KEY
from grandopt.compiler.program import Program
from grandopt.signature import Signature, TensorSpec
from grandopt.workflows.exporting.onnx.form import Form, Packed, Port

EXTRA = "onnx"
BATCH = "batch"
OLD_IR = 8
"""The version of the file format that came with opset 15."""

ONLY_MORE_TYPES = frozenset(
    (
        "Cast", "Constant", "Equal", "GreaterOrEqual", "Identity", "LeakyRelu", "LessOrEqual", "Reshape",
        "Shape", "Split", "Where",
    )
)  # fmt: skip
"""Operators whose later versions, as far as ONNX's change log goes from opset 15 to 20, admit more types, or
have one more attribute."""

SINCE = frozenset({("Split", "num_outputs")})
"""Attributes that say what was understood without them: equal parts, as many as there are outputs."""


def document(program: Program, form: Form, metadata: Mapping[str, Any], version: str) -> bytes:
    """The program in its form as one ONNX file, weights inside.

    `metadata` becomes one JSON text under `KEY`. Nothing in the file names the code that the
    program came from. Where the host takes old operators, they are old
    if they can be. Raises like `onnx_graph`.
    """
    import onnx

    model: Any = onnx.load_from_string(onnx_graph(_renamed(program, form), EXTRA))
    graph = model.graph
    _strip(model)
    graph.name = program.name
    for port in (*form.inputs, *form.outputs):
        if port.layout == "layers":
            _turn(graph, port)
    if form.packed is not None:
        _pack(graph, form.packed)
    _add(graph, form)
    for info in (*graph.input, *graph.output):
        for size in info.type.tensor_type.shape.dim:
            if size.dim_param and form.batch is None:
                size.dim_param = BATCH
            elif size.dim_param:
                size.dim_value = form.batch
    if form.opset is not None:
        model = _older(model, form.opset)
    model.producer_name, model.producer_version = "grandopt", version
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    return bytes(model.SerializeToString(deterministic=True))


def opset(content: bytes) -> int:
    """The version of the operators in a file."""
    import onnx

    model: Any = onnx.load_from_string(content)
    return next(int(item.version) for item in model.opset_import if not item.domain)


def recurrent(content: bytes) -> bool:
    """Whether a file has recurrent layers, whose kernels in ONNX Runtime lose NaN (see `onnx_recurrent`)."""
    import onnx

    model: Any = onnx.load_from_string(content)
    return any(node.op_type in ("LSTM", "GRU", "RNN") for node in model.graph.node)


def _renamed(program: Program, form: Form) -> Program:
    """The program with the names that its own tensors have in the file."""
    inner = {port.spec.name: port.inner for port in (*form.inputs, *form.outputs)}
    if form.packed is not None:
        for side, specs in (
            (form.packed.taken, form.packed.inputs),
            (form.packed.given, form.packed.outputs),
        ):
            inner |= {spec.name: f"{side}_{place}" for place, spec in enumerate(specs)}

    def named(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, name=inner[spec.name]) for spec in specs)

    signature = program.signature
    return program.but(signature=Signature(named(signature.inputs), named(signature.outputs)))


def _strip(model: Any) -> None:
    """Remove what the exporter says of the code that the program came from, and of sizes between nodes."""
    parts = [model, model.graph]
    while parts:
        part = parts.pop()
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
        if hasattr(part, "op_type"):
            parts += [item.g for item in part.attribute if item.HasField("g")]
        elif hasattr(part, "node"):
            parts += [*part.node, *part.input, *part.output, *part.initializer]
            part.ClearField("value_info")


def _turn(graph: Any, port: Port) -> None:
    """Let the file have a state with its layers first, where the graph has its rows first."""
    from onnx import helper

    taken = any(info.name == port.inner for info in graph.input)
    side = graph.input if taken else graph.output
    ends = (port.name, port.inner) if taken else (port.inner, port.name)
    if len(port.spec.shape) == 2:
        node = helper.make_node("Transpose", [ends[0]], [ends[1]], perm=[1, 0, 2])
    else:
        axis = _whole_numbers(graph, f"{port.name}_axis", [0])
        node = helper.make_node("Squeeze" if taken else "Unsqueeze", [ends[0], axis], [ends[1]])
    graph.node.insert(0 if taken else len(graph.node), node)
    _replace(side, (port.inner,), port.name, port.shape)


def _pack(graph: Any, packed: Packed) -> None:
    """Let the file have the whole state in one tensor [B, 1, M]."""
    from onnx import helper

    sizes = [spec.elements for spec in packed.inputs]
    taken = [f"{packed.taken}_{place}" for place in range(len(sizes))]
    given = [f"{packed.given}_{place}" for place in range(len(sizes))]
    flat = _whole_numbers(graph, f"{packed.taken}_flat", [-1, packed.width])
    parts = _whole_numbers(graph, f"{packed.taken}_sizes", sizes)
    before = [
        helper.make_node("Reshape", [packed.taken, flat], [f"{packed.taken}_rows"]),
        helper.make_node("Split", [f"{packed.taken}_rows", parts], [f"{name}_row" for name in taken], axis=1),
    ]
    after = []
    for place, spec in enumerate(packed.inputs):
        shape = _whole_numbers(graph, f"{taken[place]}_shape", [-1, *spec.shape])
        row = _whole_numbers(graph, f"{given[place]}_shape", [-1, spec.elements])
        before.append(helper.make_node("Reshape", [f"{taken[place]}_row", shape], [taken[place]]))
        after.append(helper.make_node("Reshape", [given[place], row], [f"{given[place]}_row"]))
    whole = _whole_numbers(graph, f"{packed.given}_shape", [-1, 1, packed.width])
    after += [
        helper.make_node("Concat", [f"{name}_row" for name in given], [f"{packed.given}_rows"], axis=1),
        helper.make_node("Reshape", [f"{packed.given}_rows", whole], [packed.given]),
    ]
    for place, node in enumerate(before):
        graph.node.insert(place, node)
    graph.node.extend(after)
    _replace(graph.input, taken, packed.taken, (BATCH, 1, packed.width))
    _replace(graph.output, given, packed.given, (BATCH, 1, packed.width))


def _add(graph: Any, form: Form) -> None:
    """What the host expects beside the program: constants, outputs under a second name, an unused input."""
    from onnx import TensorProto, helper

    for name, numbers in form.constants:
        value = helper.make_tensor(f"{name}_value", TensorProto.FLOAT, [len(numbers)], numbers)
        graph.node.append(helper.make_node("Constant", [], [name], value=value))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(numbers)]))
    outputs = {info.name: info for info in graph.output}
    for name, of in form.repeats:
        graph.node.append(helper.make_node("Identity", [of], [name]))
        twin = graph.output.add()
        twin.CopyFrom(outputs[of])
        twin.name = name
    if form.passed is not None:
        taken, given = form.passed
        graph.node.append(helper.make_node("Identity", [taken], [given]))
        graph.input.append(helper.make_tensor_value_info(taken, TensorProto.FLOAT, [BATCH]))
        graph.output.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, [BATCH]))


def _replace(side: Any, old: tuple[str, ...] | list[str], name: str, shape: tuple[int | str, ...]) -> None:
    """One input or output in the place of those of the names `old`, of their type."""
    from onnx import helper

    infos = list(side)
    place = next(index for index, info in enumerate(infos) if info.name in old)
    kind = infos[place].type.tensor_type.elem_type
    infos[place] = helper.make_tensor_value_info(name, kind, shape)
    del side[:]
    side.extend(info for info in infos if info.name not in old)


def _whole_numbers(graph: Any, name: str, numbers: list[int]) -> str:
    from onnx import TensorProto, helper

    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers))
    return name


def _older(model: Any, version: int) -> Any:
    """The model as one of the opset `version`; as it is where an operator was another one then."""
    present = next(item for item in model.opset_import if not item.domain)
    if any(not _same_then(node, version, present.version) for node in model.graph.node):
        return model
    present.version = version
    for node in model.graph.node:
        kept = [item for item in node.attribute if (node.op_type, item.name) not in SINCE]
        del node.attribute[:]
        node.attribute.extend(kept)
    model.ir_version = OLD_IR
    return model


def _same_then(node: Any, version: int, present: int) -> bool:
    """Whether a node means the same in both opsets."""
    from onnx import defs

    attributes = {item.name for item in node.attribute if (node.op_type, item.name) not in SINCE}
    try:
        old, new = (defs.get_schema(node.op_type, number, node.domain) for number in (version, present))
    except defs.SchemaError:
        return False
    if old.since_version == new.since_version:
        return True
    return node.op_type in ONLY_MORE_TYPES and attributes <= set(old.attributes)
