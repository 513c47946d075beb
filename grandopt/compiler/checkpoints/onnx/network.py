"""The plan of a file as a module: every node is computed by its translation, one after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from grandopt import limits
from grandopt.compiler.checkpoints.onnx import sizes
from grandopt.compiler.checkpoints.onnx.call import Call, OperatorError, Translation, Value, is_symbol
from grandopt.compiler.checkpoints.onnx.document import Node
from grandopt.compiler.checkpoints.onnx.operators.attributes import ATTRIBUTES
from grandopt.compiler.checkpoints.onnx.operators.table import CONTROL, PREPARED, RANDOM, translation
from grandopt.compiler.checkpoints.onnx.plan import Body, Plan, uses
from grandopt.compiler.checkpoints.onnx.tensors import Constants
from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.errors import first_line

WEIGHTED = (
    "Gemm", "MatMul", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "BatchNormalization",
    "LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization",
)  # fmt: skip
"""Operators whose constant operands are weights: inf in one is no mask."""

Values = dict[str, Value]


class OnnxNetwork(torch.nn.Module):
    """The nodes of a plan. What they compute of constants alone is computed once, here.

    `batch` is the batch that the file has built in, if another one is to take its place; with `unrolled`
    recurrent layers are taken apart. Raises CheckpointError for operators that are not computed here.
    """

    def __init__(self, plan: Plan, constants: Constants, *, unrolled: bool = False) -> None:
        super().__init__()
        self.batch: int | None = None
        self.unrolled = unrolled
        self._plan = plan
        require_known(plan, str(constants.path))
        read = {name: Value.of(constants.tensor(item)) for name, item in plan.constants.items()}
        folded = _Folded(plan, read, prepares=not unrolled)
        self._nodes = folded.rest
        self._constant = frozenset(folded.values)
        self._known: dict[str, tuple[str, Any]] = {}
        self._prepared: dict[int, tuple[str, ...]] = {}
        self._keep(folded)
        self._count = self._bytes = 0

    def _keep(self, folded: _Folded) -> None:
        """Register what the nodes that are left read, weights as parameters."""
        needed = set(self._plan.body.outputs)
        for index, node in enumerate(self._nodes):
            replaced = PREPARED[node.op].places if index in folded.prepared else ()
            made_of = {name for place, name in enumerate(node.inputs) if place in replaced}
            needed |= {name for name in uses(node) if name not in made_of}
        weights = {name for node in self._nodes if node.op in WEIGHTED for name in node.inputs[1:]}
        for name, value in folded.values.items():
            if name in needed and value.held is not None:
                self._known[name] = (self._registered(name, value.held, weight=name in weights), value.known)
        for index, tensors in folded.prepared.items():
            label = self._nodes[index].inputs[1]
            self._prepared[index] = tuple(
                self._registered(label if place == 0 else f"{label}_{place}", tensor, weight=True)
                for place, tensor in enumerate(tensors)
            )

    def _registered(self, name: str, tensor: torch.Tensor, *, weight: bool) -> str:
        plain = re.sub(r"\W", "_", name).strip("_") or "constant"
        own, count = plain, 0
        while hasattr(self, own):
            count += 1
            own = f"{plain}_{count}"
        tensor = tensor.contiguous()
        if weight and tensor.dtype.is_floating_point:
            self.register_parameter(own, torch.nn.Parameter(tensor, requires_grad=False))
        else:
            self.register_buffer(own, tensor)
        return own

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors of the file's inputs in, those of its outputs out, shapes as in the file."""
        values: Values = {
            name: Value(getattr(self, own), known) for name, (own, known) in self._known.items()
        }
        values |= {name: Value(value) for name, value in zip(self._plan.body.inputs, inputs, strict=True)}
        self._count = self._bytes = 0
        for index, node in enumerate(self._nodes):
            prepared = tuple(getattr(self, name) for name in self._prepared.get(index, ()))
            self._step(node, values, prepared)
        return tuple(_own(values[name].tensor, inputs) for name in self._plan.body.outputs)

    def is_constant(self, place: int) -> bool:
        """Whether the output at this place does not depend on any input."""
        return self._plan.body.outputs[place] in self._constant

    def _step(self, node: Node, values: Values, prepared: tuple[torch.Tensor, ...] = ()) -> None:
        self._count += 1
        if self._count > limits.NODES:
            raise OperatorError(f"operator {node.label}: more than {limits.NODES:,} steps, loops counted")
        # What is not there was made into what is prepared.
        operands = tuple(values.get(name, Value()) if name else None for name in node.inputs)
        call = Call(node, operands, self._plan.opset, self.batch, self.unrolled, prepared)
        if node.op == "If":
            self._branch(call, values)
        elif node.op == "Loop":
            self._loop(call, values)
        else:
            results = sizes.followed(call) or computed(call)
            self._bytes += sum(map(_size, _all(results)))
            if self._bytes > limits.BETWEEN_BYTES:
                call.refuse(
                    f"{self._bytes:,} bytes in all tensors so far; at most {limits.BETWEEN_BYTES:,} are taken"
                )
            _store(node, results, values)

    def _body(self, body: Body, values: Values) -> list[Value]:
        for node in body.nodes:
            self._step(node, values)
        return [values[name] for name in body.outputs]

    def _branch(self, call: Call, values: Values) -> None:
        """The branch that a constant chooses."""
        chosen = call.attributes.get("then_branch" if bool(call.number(0)) else "else_branch")
        if not isinstance(chosen, Body):
            call.refuse("it lacks a branch")
        _store(call.node, tuple(self._body(chosen, values)), values)

    def _loop(self, call: Call, values: Values) -> None:
        """The steps one after the other; how many must be known."""
        body = call.attributes.get("body")
        if not isinstance(body, Body):
            call.refuse("it lacks a body")
        most = int(call.number(0)) if call.has(0) else limits.NODES
        going = Value(known=call.known(1)) if call.has(1) else Value(known=np.array(True))
        carried = [call.value(place) for place in range(2, len(call.operands))]
        rows: list[list[torch.Tensor]] = []
        step = 0
        while step < most and bool(_decided(call, going)):
            if len(body.inputs) != 2 + len(carried):
                call.refuse(f"its body takes {len(body.inputs)} inputs")
            given = [Value(known=np.array(step)), going, *carried]
            values |= dict(zip(body.inputs, given, strict=True))
            going, *results = self._body(body, values)
            carried, scanned = results[: len(carried)], results[len(carried) :]
            rows.append([value.tensor for value in scanned])
            step += 1
        if not rows and len(call.node.outputs) > len(carried):
            call.refuse("it makes no step, and its outputs have no shape")
        stacks = [Value(torch.stack(list(column))) for column in zip(*rows, strict=True)]
        _store(call.node, (*carried, *stacks), values)


def _own(output: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The output, copied where it is an input itself."""
    return output.clone() if any(output is value for value in inputs) else output


def _decided(call: Call, going: Value) -> bool:
    if going.known is None:
        call.refuse("how often it repeats depends on the observation")
    return bool(going.known.ravel()[0])


def require_known(plan: Plan, where: str) -> None:
    """Raise OperatorError that names the operators of the plan that are not computed here."""
    pending, strange, random = list(plan.body.nodes), {}, []
    while pending:
        node = pending.pop()
        pending += [
            inner for value in node.attributes.values() if isinstance(value, Body) for inner in value.nodes
        ]
        if node.op in RANDOM:
            random.append(node.label)
        elif node.op not in CONTROL and translation(node.op) is None:
            strange[node.op] = node
        elif unknown := node.attributes.keys() - ATTRIBUTES.get(node.op, frozenset()):
            raise OperatorError(
                f"{where}: operator {node.label} has the attribute {sorted(unknown)[0]!r}, which is not "
                f"computed here"
            )
    if random:
        raise OperatorError(
            f"{where}: draws random numbers ({random[0]}), so one observation has many answers; name the "
            f"outputs without it (--outputs, `outputs:`)"
        )
    if strange:
        raise OperatorError(
            f"{where}: uses operators that are not computed here: {', '.join(sorted(strange))}"
        )


def computed(call: Call) -> Value | tuple[Value, ...]:
    """What torch computes for a node; what it raises becomes an OperatorError that names the node."""
    function: Translation | None = translation(call.node.op)
    assert function is not None
    try:
        result = function(call)
    except OperatorError:
        raise
    except FORWARD_ERRORS as error:
        raise OperatorError(f"operator {call.node.label}: {first_line(error)}") from error
    results = result if isinstance(result, tuple) else (result,)
    return tuple(item if isinstance(item, Value) else Value(item) for item in results)


def _size(value: Value) -> int:
    """The bytes of a tensor; 0 where its size is a symbol, or nobody has filled it."""
    if value.held is None or any(is_symbol(size) for size in value.held.shape):
        return 0
    return value.held.numel() * value.held.element_size()


def _store(node: Node, results: Value | tuple[Value, ...], values: Values) -> None:
    found = results if isinstance(results, tuple) else (results,)
    if len(found) < sum(map(bool, node.outputs)):
        raise OperatorError(
            f"operator {node.label}: gives {len(found)} of its {len(node.outputs)} outputs here"
        )
    values.update({name: value for name, value in zip(node.outputs, found, strict=False) if name})


class _Folded:
    """The nodes of a plan without those of constants alone, whose results are among `values`.

    `prepared` holds what was made of the constant operands of a node that is left, by its place.
    """

    def __init__(self, plan: Plan, constants: Mapping[str, Value], *, prepares: bool) -> None:
        self.values: Values = dict(constants)
        self.rest: list[Node] = []
        self.prepared: dict[int, tuple[torch.Tensor, ...]] = {}
        self._sizes = FakeTensorMode(allow_non_fake_inputs=True)
        self._made = 0
        for node in plan.body.nodes:
            known = all(name in self.values for name in node.inputs if name)
            call = Call(
                node, tuple(self.values.get(name) if name else None for name in node.inputs), plan.opset
            )
            if known and node.op not in CONTROL:
                self._fold(call)
            else:
                if prepares:
                    self._prepare(call)
                self.rest.append(node)

    def _fold(self, call: Call) -> None:
        """Compute a node, after its result's size was looked at."""
        if call.node.op != "Constant":
            self._look(call)
        results = [
            Value.of(value.held) if value.held is not None else value
            for value in _all(sizes.followed(call) or computed(call))
        ]
        _store(call.node, tuple(Value.of(value.tensor) for value in results), self.values)

    def _look(self, call: Call) -> None:
        operands = tuple(
            None if value is None else Value(self._sizes.from_tensor(value.tensor), value.known)
            for value in call.operands
        )
        with self._sizes:
            for value in _all(computed(Call(call.node, operands, call.opset))):
                self._made += _size(value)
        if self._made > limits.FOLDED_BYTES:
            call.refuse(
                f"its constants come to {self._made:,} bytes; at most {limits.FOLDED_BYTES:,} are made"
            )

    def _prepare(self, call: Call) -> None:
        preparation = PREPARED.get(call.node.op)
        if preparation is None or any(
            place < len(call.node.inputs) and call.node.inputs[place] and call.operands[place] is None
            for place in preparation.places
        ):
            return
        try:
            made = preparation.make(call)
        except FORWARD_ERRORS as error:
            raise OperatorError(f"operator {call.node.label}: {first_line(error)}") from error
        if made:
            self.prepared[len(self.rest)] = made


def _all(results: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return results if isinstance(results, tuple) else (results,)
