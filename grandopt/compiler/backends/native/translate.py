"""Exported program → form.

The program is first decomposed to core ATen operators, those kept whole that the form has an op for. A node
that depends on constants only is folded by running the operator itself, once, at build time.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from grandopt.compiler.backends.native.batch import (
    BatchTracker,
    at_one,
    check_numbers,
    check_symbols,
)
from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.constants import Constants
from grandopt.compiler.backends.native.decompose import decomposed
from grandopt.compiler.backends.native.dtypes import dtype_fault
from grandopt.compiler.backends.native.form import Graph, Value
from grandopt.compiler.backends.native.operators import (  # noqa: F401 - importing registers the translators
    activations,
    convolution,
    creation,
    elementwise,
    functions,
    indexing,
    normalisation,
    pooling,
    products,
    recurrent,
    reductions,
    resampling,
    scans,
    scattering,
    shapes,
    sorting,
)
from grandopt.compiler.backends.native.operators.registry import (
    TRANSLATORS,
    ConditionError,
    Context,
    Result,
)
from grandopt.errors import UnsupportedError, first_line
from grandopt.signature import DTYPES, Array

ANY_USE = "(any use of it)"
UNFORESEEN = (TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What a translator raises on arguments that its author did not think of. It refuses them all the same."""
UNFORESEEN_USE = "unforeseen"
"""Marks such a refusal. The tests over PyTorch's databases hold that none of theirs has it."""
INDEXED = ("index.Tensor", "index_put.", "_unsafe_index")
"""Operators with a list of indices, one per axis."""
RESHAPING = tuple(
    f"aten.{name}." for name in ("permute", "view", "squeeze", "unsqueeze", "clone", "expand", "_to_copy")
)
SKIPPED = ("sym_size", "_assert", "sym_constrain", "_guards", "sym_numel", "sym_stride")
"""Operators on sizes and checks, which the static shapes make void."""


def translate(name: str, exported: torch.export.ExportedProgram) -> Graph:
    """The program as a graph of the form.

    Raises UnsupportedError, naming the operator, when the program mixes the samples of a batch, changes
    a buffer, or uses an operator or dtype that the form does not cover.
    """
    return _Translation(decomposed(name, exported)).graph(name)


class _Translation:
    """One pass over the nodes of a decomposed program."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        self._exported = exported
        self._build = Builder()
        self._batch = BatchTracker()
        self._results: dict[Node, Any] = {}
        self._constants = Constants()
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
                with _refusing(f"input {node.name}"):
                    self._placeholder(node, kinds[node.name])
            elif node.op == "call_function":
                with _refusing(str(node.target)):
                    self._call(node)
        (output,) = (node for node in nodes if node.op == "output")
        # What the program writes into its inputs is left out: an executor's inputs stay as they are.
        returned = [
            node
            for node, kind in zip(output.args[0], kinds_out, strict=True)
            if kind is OutputKind.USER_OUTPUT
        ]
        outputs = tuple(self._output(number, node) for number, node in enumerate(returned))
        return Graph(name, tuple(self._inputs), outputs, tuple(self._build.ops))

    def _placeholder(self, node: Node, spec: Any) -> None:
        if spec.kind is InputKind.USER_INPUT:
            val = node.meta["val"]
            value = self._build.value([at_one(n) for n in val.shape], _dtype(val.dtype))
            self._results[node] = value
            self._inputs.append(value)
            self._batch.enter(node)
        else:
            store = self._exported.state_dict
            source = store if spec.target in store else self._exported.constants
            self._constants.hold(node, source[spec.target].detach())

    def _output(self, number: int, node: object) -> Value:
        with _refusing(f"output {number}"):
            if not isinstance(node, Node):
                raise ConditionError("that is no tensor")
            self._batch.require_leading(node)
            return self._value(node)

    def _call(self, node: Node) -> None:
        name = str(node.target)
        if node.target is operator.getitem:
            source, index = node.args
            if source in self._constants:
                self._constants.pick(node, source, index)  # type: ignore[arg-type]
            elif source in self._results:
                self._results[node] = self._results[source][index]  # type: ignore[index]
            self._batch.step(node)
            return
        if name.removeprefix("aten.").startswith(SKIPPED) or not _has_tensor(node):
            return
        self._batch.step(node)
        self._build.place = _module_of(node)
        if all(n in self._constants or not _has_tensor(n) for n in node.all_input_nodes):
            self._constants.fold(node)
            return
        self._results[node] = self._checked(node, self._translated(node))

    def _translated(self, node: Node) -> Result:
        translator = TRANSLATORS.get(str(node.target).removeprefix("aten."))
        if translator is None:
            raise ConditionError(ANY_USE)
        check_numbers(node)
        arguments = [
            self._indices(node, a) if place == 1 and _picks(node) else self._argument(a)
            for place, a in enumerate(node.args)
        ]
        named = {key: self._argument(a) for key, a in node.kwargs.items()}
        before = len(self._build.ops)
        result = translator(self._context(node), *arguments, **named)
        for op in self._build.ops[before:]:
            if (fault := dtype_fault(op)) is not None:
                raise ConditionError(f"in which {fault}")
        return result

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return at_one(argument.meta["val"]) if _is_size(argument) else self._value(argument)
        if isinstance(argument, (list, tuple)):
            return [self._argument(item) for item in argument]
        return argument

    def _indices(self, node: Node, indices: Any) -> list[Value | None]:
        """Those of an indexing operator. Along the batch, each sample may only pick itself."""
        found: list[Value | None] = []
        for axis, index in enumerate(indices):
            if index is not None and self._batch.leads(node.args[0], axis):  # type: ignore[arg-type]
                own = self._constants.own_row(index) if index in self._constants else None
                if own is None:
                    raise ConditionError("along the batch, by anything but the samples' own numbers,")
                found.append(self._build.constant(_as_array(own)))
            else:
                found.append(self._argument(index))
        return found

    def _value(self, node: Node) -> Value:
        if node in self._constants:
            tensor = self._constants.of_all_samples(node)
            _dtype(tensor.dtype)
            return self._build.constant(_as_array(tensor))
        result = self._results.get(node)
        if not isinstance(result, Value):
            raise ConditionError(f"on what {node.name} gives")
        return result

    def _context(self, node: Node) -> Context:
        val = node.meta["val"]
        first = val[0] if isinstance(val, (tuple, list)) else val
        dtype = _dtype(first.dtype)
        operands: list[Any] = [n.meta["val"] if isinstance(n, Node) else n for n in node.args[:2]]
        compute = dtype
        numbers: list[Any] = [o for o in operands if isinstance(o, (torch.Tensor, int, float))]
        if dtype == "bool" and len(numbers) == 2:
            compute = _dtype(torch.result_type(*numbers))
        return Context(
            self._build,
            str(node.target).removeprefix("aten."),
            tuple(at_one(n) for n in first.shape),
            dtype,
            compute,
            _returned(node),
        )

    @staticmethod
    def _checked(node: Node, result: Result) -> Result:
        """The translated shapes and dtypes must be those that ATen computed.

        Of several results only those that are read: torch 2.11 gives the last states of an LSTM, which most
        networks leave alone, an axis too many.
        """
        val = node.meta["val"]
        several = isinstance(val, (tuple, list))
        read = {user.args[1] for user in node.users if user.target is operator.getitem and user.users}
        pairs = zip(
            val if several else (val,), result if isinstance(result, tuple) else (result,), strict=True
        )
        for number, (tensor, value) in enumerate(pairs):
            if value is None or (several and number not in read):
                continue
            shape = tuple(at_one(n) for n in tensor.shape)
            dtype = _dtype(tensor.dtype)
            if value.shape != shape or value.dtype != dtype:
                raise ConditionError(
                    f"where it gives {dtype} {list(shape)} ({UNFORESEEN_USE}: made was {value.dtype} "
                    f"{list(value.shape)})"
                )
        return result


@contextmanager
def _refusing(subject: str) -> Iterator[None]:
    """The one place where a part of a program is refused: the refusal names it, and the condition."""
    try:
        yield
    except ConditionError as condition:
        raise UnsupportedError(f"{subject} {condition} is not covered by the native engine") from condition
    except UNFORESEEN as error:
        raise UnsupportedError(
            f"{subject} in this use is not covered by the native engine ({UNFORESEEN_USE}: "
            f"{type(error).__name__}: {first_line(error)})"
        ) from error


def _returned(node: Node) -> frozenset[int]:
    """Numbers of the results that the program returns as they are, but for their shape and dtype."""
    found = set()
    for item in (user for user in node.users if user.target is operator.getitem):
        waiting = [item]
        while waiting:
            users = list(waiting.pop().users)
            if any(user.op == "output" for user in users):
                found.add(int(str(item.args[1])))
            waiting += [user for user in users if str(user.target).startswith(RESHAPING)]
    return frozenset(found)


def _picks(node: Node) -> bool:
    return str(node.target).removeprefix("aten.").startswith(INDEXED)


def _module_of(node: Node) -> str:
    """The module of the network that an operator is a part of; empty where that is not known."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _is_size(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (torch.SymInt, int))


def _has_tensor(node: Node) -> bool:
    val = node.meta.get("val")
    return any(isinstance(part, torch.Tensor) for part in (val if isinstance(val, (tuple, list)) else (val,)))


def _as_array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array


def _dtype(dtype: torch.dtype) -> str:
    plain = str(dtype).removeprefix("torch.")
    if plain not in DTYPES or plain == "float16":
        raise ConditionError(f"of {plain}")
    return plain
