"""Recurrent layers of an ONNX graph, made to keep NaN for an engine whose kernels lose it.

ONNX Runtime bounds what goes into the gates of an LSTM or GRU (MLAS computes sigmoid and tanh by polynomials
on an interval), and a bound takes the place of NaN: a broken sensor becomes an ordinary number. Where NaN
belongs follows from the gates' products with the input alone: a unit is NaN at the step where one of its
gates is, and all units are NaN after it, since each step multiplies the whole state before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GATES = {"LSTM": 4, "GRU": 3}
"""Recurrent operators, and the gates of which each has a product with its input. NaN in any of them is NaN
in the layer's output; an LSTM's cell state, which one of them does not enter, is not covered."""

USUAL = 1e30
"""Inputs whose absolute values sum to less have no NaN, no infinity, and no product that could overflow."""

DOMAIN = "grandopt"
_MARK = """
<domain: "{domain}", opset_import: ["" : {opset}]>
{name} (X, W, Y) => (Kept)
{{
  Size = ReduceL1 <keepdims = 0> (X)
  Usual = Constant <value_float = {usual}> ()
  IsUsual = Less (Size, Usual)
  Kept = If (IsUsual) <
    then_branch = usual () => (Same) {{ Same = Identity (Y) }},
    else_branch = broken () => (Marked) {{
      Transposed = Transpose <perm = [0, 2, 1]> (W)
      One = Constant <value_ints = [1]> ()
      Steps = Unsqueeze (X, One)
      Products = MatMul (Steps, Transposed)
      AreNaN = IsNaN (Products)
      Counted = Cast <to = 1> (AreNaN)
      ByGate = Constant <value_ints = [0, 0, 0, {gates}, -1]> ()
      Gates = Reshape (Counted, ByGate)
      Three = Constant <value_ints = [3]> ()
      Units = ReduceMax <keepdims = 0> (Gates, Three)
      States = ReduceMax <keepdims = 1> (Units, Three)
      Zero = Constant <value_int = 0> ()
      {earlier}
      Both = Add (Units, Earlier)
      None = Constant <value_float = 0.0> ()
      Mask = Greater (Both, None)
      NaN = Div (None, None)
      Marked = Where (Mask, NaN, Y)
    }}>
}}
"""
"""X [steps, batch, inputs], W [directions, gates * units, inputs], Y [steps, directions, batch, units]."""

_EARLIER = {
    "forward": "Earlier = CumSum <exclusive = 1> (States, Zero)",
    "reverse": "Earlier = CumSum <exclusive = 1, reverse = 1> (States, Zero)",
    "bidirectional": """
      Onward, Backward = Split <axis = 1, num_outputs = 2> (States)
      Before = CumSum <exclusive = 1> (Onward, Zero)
      After = CumSum <exclusive = 1, reverse = 1> (Backward, Zero)
      Earlier = Concat <axis = 1> (Before, After)""",
}

_ENDS: dict[str, list[tuple[int, ...]]] = {
    "forward": [(-1, 0)],
    "reverse": [(0, 0)],
    "bidirectional": [(-1, 0), (0, 1)],
}
"""Step and direction of the last state of each direction."""


def keep_nan(content: bytes) -> bytes:
    """The ONNX graph with every LSTM and GRU answering NaN exactly where its definition does.

    On inputs without NaN, infinities and overflow the results are those of the given graph, bit for bit; what
    they cost more is one sum over the input of each layer. Left as they are: layers whose initial state or
    lengths come with the observation, and an LSTM whose last cell state is used.
    """
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    marked = [node for node in graph.node if node.op_type in GATES and _is_covered(graph, node)]
    if not marked:
        return content
    opset = next(item.version for item in model.opset_import if item.domain == "")
    nodes: list[Any] = []
    functions: dict[str, str] = {}
    for node in graph.node:
        nodes.append(node)
        if node in marked:
            name = f"{node.op_type}_{_direction(node)}"
            functions[name] = _MARK.format(
                domain=DOMAIN,
                opset=opset,
                name=name,
                usual=USUAL,
                gates=GATES[node.op_type],
                earlier=_EARLIER[_direction(node)],
            )
            nodes.extend(_after(node, name))
    del graph.node[:]
    graph.node.extend(nodes)
    model.functions.extend(onnx.parser.parse_function(text) for text in functions.values())
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return bytes(model.SerializeToString())


def _after(node: Any, function: str) -> Iterator[Any]:
    """What follows a recurrent node, whose outputs it renames: marking, and each direction's last state."""
    from onnx import TensorProto, helper

    given = list(node.output) + [""] * (2 - len(node.output))
    raw = f"{given[0] or given[1]}_unmarked"
    steps = given[0] or f"{raw}_steps"
    del node.output[:]
    node.output.append(raw)
    yield helper.make_node(function, [node.input[0], node.input[1], raw], [steps], domain=DOMAIN)
    if not given[1]:
        return
    ends, last = _ENDS[_direction(node)], f"{raw}_last"
    indices = helper.make_tensor(last, TensorProto.INT64, [len(ends), 2], sum(ends, ()))
    yield helper.make_node("Constant", [], [last], value=indices)
    yield helper.make_node("GatherND", [steps, last], [given[1]])


def _is_covered(graph: Any, node: Any) -> bool:
    """Whether nothing but the sequence itself comes from outside, and no cell state is asked for."""
    attributes = {item.name: item for item in node.attribute}
    used = {name for other in graph.node for name in other.input} | {item.name for item in graph.output}
    if len(node.output) > 2 and node.output[2] in used:
        return False
    if attributes.keys() & {"activations", "clip"} or ("layout" in attributes and attributes["layout"].i):
        return False
    return not any(_from_outside(graph, name) for name in node.input[4:])


def _from_outside(graph: Any, name: str) -> bool:
    """Whether a value depends on an input of the graph in more than its shape."""
    made = {output: node for node in graph.node for output in node.output}
    outside = {item.name for item in graph.input}
    waiting, seen = [name], set[str]()
    while waiting:
        value = waiting.pop()
        if value in outside:
            return True
        if value in made and value not in seen and made[value].op_type != "Shape":
            waiting.extend(made[value].input)
        seen.add(value)
    return False


def _direction(node: Any) -> str:
    for item in node.attribute:
        if item.name == "direction":
            return str(item.s.decode())
    return "forward"
