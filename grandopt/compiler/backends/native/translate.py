"""Exported program → form.

The program is first decomposed to core ATen operators, those kept whole that the form has an op for. A node
that depends on constants only is folded by running the operator itself, once, at build time.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from grandopt.compiler.backends.native.batch import BatchTracker, at_one, check_symbols
from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Graph, Value
from grandopt.compiler.backends.native.operators import (  # noqa: F401 - importing registers the translators
    activations,
    convolution,
    creation,
    elementwise,
    indexing,
    normalisation,
    products,
    recurrent,
    reductions,
    shapes,
)
from grandopt.compiler.backends.native.operators.registry import TRANSLATORS, Context, Result
from grandopt.errors import UnsupportedError
from grandopt.signature import DTYPES, Array

KEPT_WHOLE = (
    "linear", "matmul", "scaled_dot_product_attention", "layer_norm", "batch_norm", "rms_norm",
    "group_norm", "softplus", "softmax.int", "log_softmax.int", "lstm.input", "gru.input", "dropout",
    "silu", "hardswish", "hardsigmoid", "leaky_relu", "elu", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "square", "stack", "lerp.Scalar", "addcmul",
    "logsumexp", "unbind.int", "linalg_vector_norm", "std.correction", "var.correction",
)  # fmt: skip
SKIPPED = ("sym_size", "_assert", "sym_constrain", "_guards", "sym_numel", "sym_stride")
"""Operators on sizes and checks, which the static shapes make void."""


def translate(name: str, exported: torch.export.ExportedProgram) -> Graph:
    """The program as a graph of the form.

    Raises UnsupportedError, naming the operator, when the program mixes the samples of a batch, changes
    a buffer, or uses an operator or dtype that the form does not cover.
    """
    with warnings.catch_warnings():
        # torch 2.13 warns of its own use of a deprecated class while it copies the program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        decomposed = exported.run_decompositions(_decompositions())
    return _Translation(decomposed).graph(name)


def _decompositions() -> Any:
    table = torch.export.default_decompositions()
    for name in KEPT_WHOLE:
        packet, _, overload = name.partition(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload or "default"), None)
    return table


class _Translation:
    """One pass over the nodes of a decomposed program."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        self._exported = exported
        self._build = Builder()
        self._batch = BatchTracker()
        self._results: dict[Node, Any] = {}
        self._folded: dict[Node, Any] = {}
        """Results of nodes that depend on constants only, as torch gives them."""
        self._inputs: list[Value] = []

    def graph(self, name: str) -> Graph:
        signature = self._exported.graph_signature
        kinds_out = [spec.kind for spec in signature.output_specs]
        if not {*kinds_out} <= {OutputKind.USER_OUTPUT, OutputKind.USER_INPUT_MUTATION}:
            raise UnsupportedError(f"{name} changes a buffer; the native engine keeps no state")
        kinds = {spec.arg.name: spec for spec in signature.input_specs}
        nodes = self._exported.graph_module.graph.nodes
        check_symbols([n.meta["val"].shape for n in nodes if n.op == "placeholder"])
        for node in nodes:
            if node.op == "placeholder":
                self._placeholder(node, kinds[node.name])
            elif node.op == "call_function":
                self._call(node)
        (output,) = (node for node in nodes if node.op == "output")
        # What the program writes into its inputs is left out: an executor's inputs stay as they are.
        returned = [
            node
            for node, kind in zip(output.args[0], kinds_out, strict=True)
            if kind is OutputKind.USER_OUTPUT
        ]
        for node in returned:
            self._batch.require_leading(node)
        outputs = tuple(self._value(node) for node in returned)
        return Graph(name, tuple(self._inputs), outputs, tuple(self._build.ops))

    def _placeholder(self, node: Node, spec: Any) -> None:
        if spec.kind is InputKind.USER_INPUT:
            val = node.meta["val"]
            value = self._build.value([at_one(n) for n in val.shape], _dtype(val.dtype, node.name))
            self._results[node] = value
            self._inputs.append(value)
            self._batch.enter(node)
        else:
            store = self._exported.state_dict
            source = store if spec.target in store else self._exported.constants
            self._folded[node] = source[spec.target].detach()

    def _call(self, node: Node) -> None:
        name = str(node.target)
        if node.target is operator.getitem:
            source, index = node.args
            results = self._folded if source in self._folded else self._results
            results[node] = results[source][index]  # type: ignore[index]
            self._batch.step(node)
            return
        if not name.startswith("aten.") or name.removeprefix("aten.").startswith(SKIPPED):
            return
        self._batch.step(node)
        if all(n in self._folded or "val" not in n.meta or _is_size(n) for n in node.all_input_nodes):
            self._fold(node)
            return
        translator = TRANSLATORS.get(name.removeprefix("aten."))
        if translator is None:
            raise UnsupportedError(f"operator {name} is not covered by the native engine")
        arguments = [self._argument(a) for a in node.args]
        named = {key: self._argument(a) for key, a in node.kwargs.items()}
        self._results[node] = self._checked(node, translator(self._context(node), *arguments, **named))

    def _fold(self, node: Node) -> None:
        arguments = torch.fx.node.map_arg((node.args, node.kwargs), self._concrete)
        self._folded[node] = node.target(*arguments[0], **arguments[1])  # type: ignore[operator]

    def _concrete(self, node: Node) -> Any:
        return self._folded[node] if node in self._folded else at_one(node.meta["val"])

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return at_one(argument.meta["val"]) if _is_size(argument) else self._value(argument)
        if isinstance(argument, (list, tuple)):
            return [self._argument(item) for item in argument]
        return argument

    def _value(self, node: Node) -> Value:
        if node in self._folded:
            tensor = self._folded[node]
            _dtype(tensor.dtype, node.name)
            return self._build.constant(_as_array(tensor))
        result: Value = self._results[node]
        return result

    def _context(self, node: Node) -> Context:
        val = node.meta["val"]
        first = val[0] if isinstance(val, (tuple, list)) else val
        dtype = _dtype(first.dtype, node.name)
        operands: list[Any] = [n.meta["val"] if isinstance(n, Node) else n for n in node.args[:2]]
        compute = dtype
        numbers: list[Any] = [o for o in operands if isinstance(o, (torch.Tensor, int, float))]
        if dtype == "bool" and len(numbers) == 2:
            compute = _dtype(torch.result_type(*numbers), node.name)
        return Context(
            self._build,
            str(node.target).removeprefix("aten."),
            tuple(at_one(n) for n in first.shape),
            dtype,
            compute,
        )

    @staticmethod
    def _checked(node: Node, result: Result) -> Result:
        """The translated shapes and dtypes must be those that ATen computed."""
        val = node.meta["val"]
        pairs = zip(
            val if isinstance(val, (tuple, list)) else (val,),
            result if isinstance(result, tuple) else (result,),
            strict=True,
        )
        for tensor, value in pairs:
            if value is None:
                continue
            shape = tuple(at_one(n) for n in tensor.shape)
            if value.shape != shape or value.dtype != _dtype(tensor.dtype, node.name):
                raise UnsupportedError(
                    f"operator {node.target} ({node.name}) gives {value.dtype} {list(value.shape)} where "
                    f"{tensor.dtype} {list(shape)} is expected; this use of it is not covered"
                )
        return result


def _is_size(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (torch.SymInt, int))


def _as_array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array


def _dtype(dtype: torch.dtype, name: str) -> str:
    plain = str(dtype).removeprefix("torch.")
    if plain not in DTYPES or plain == "float16":
        raise UnsupportedError(f"{name} has dtype {plain}, which the native engine does not cover")
    return plain
