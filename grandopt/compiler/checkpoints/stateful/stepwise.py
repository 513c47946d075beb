"""A network that reads whole sequences, rewritten to take one step at a time.

What such a network remembers lies in its recurrent layers alone, if it can be stepped at all. The rewriting
therefore gives every one of them its state from outside, feeds sequences of one step, and leaves the rest as
it is. Whether that is the same agent is then tried out in float64: attention over the steps, positions, or
convolutions along the time make another result, and are refused.
"""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import drawn
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.errors import SignatureError, first_line
from grandopt.signature import Bound, StateTensor, TensorSpec

LAYERS = (nn.LSTM, nn.GRU, nn.RNN)
STREAMS = 3
TOLERANCE = 1e-9
"""Largest difference in float64, relative to the output's largest value: rounding, and nothing else."""

TRACE_ERRORS = (*FORWARD_ERRORS, fx.proxy.TraceError, NotImplementedError)


@dataclass(frozen=True)
class _State:
    """One tensor of one layer's state, as the new network takes it: [layers, features] per stream."""

    name: str
    shape: tuple[int, int]
    dtype: str


def stepwise(checkpoint: Checkpoint) -> Checkpoint:
    """The agent for one step: its inputs without their first dimension, its state in the contract.

    Every input is a sequence [T, …] of one length. Outputs that have a row per step lose that dimension.
    The agent has then seen all steps since its state was reset, however many. Raises SignatureError with the
    reason where the network cannot be rewritten, or is another agent afterwards.
    """
    length = _length(checkpoint.inputs)
    full = checkpoint.module
    if isinstance(full, torch.jit.ScriptModule):
        raise SignatureError("stepwise: a TorchScript archive cannot be rewritten; give the network in code")
    try:
        graph_module = fx.symbolic_trace(full)
    except TRACE_ERRORS as error:
        raise SignatureError(f"stepwise: the network cannot be rewritten: {first_line(error)}") from error
    per_step = _per_step(checkpoint, length)
    module, states = _rewritten(graph_module, per_step)
    outputs = [f"output_{place}" for place in range(len(per_step))]
    inputs = tuple(_one_step(spec) for spec in checkpoint.inputs)
    taken = tuple(TensorSpec(state.name, state.shape, state.dtype) for state in states)
    _prove(checkpoint, module, taken, per_step, length)
    proof = f"equal to whole sequences of up to {length} steps in float64"
    return replace(
        checkpoint,
        module=module.eval(),
        inputs=(*inputs, *taken),
        source=checkpoint.source.noting(stepwise=proof),
        contract=replace(
            checkpoint.contract,
            state=tuple(StateTensor(state.name, f"{state.name}_next") for state in states),
        ),
        output_names=(*outputs, *(f"{state.name}_next" for state in states)),
        exported=None,
    )


def _length(inputs: Sequence[TensorSpec]) -> int:
    lengths = {spec.shape[0] if spec.shape else 0 for spec in inputs}
    if len(lengths) != 1 or min(lengths) < 2:
        shown = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
        raise SignatureError(
            f"stepwise: every input must be a sequence [T, …] of one length from 2 on, got {shown}"
        )
    return lengths.pop()


def _one_step(spec: TensorSpec) -> TensorSpec:
    rest = spec.elements // spec.shape[0]

    def last(bound: Bound) -> Bound:
        # Bounds per element are those of every step; the last step's stand for all.
        return bound[-rest:] if isinstance(bound, tuple) else bound

    return replace(spec, shape=spec.shape[1:], low=last(spec.low), high=last(spec.high))


def _drawn(checkpoint: Checkpoint, steps: int) -> tuple[torch.Tensor, ...]:
    return tuple(value[:, :steps] for value in drawn(checkpoint.inputs, STREAMS, seed=steps))


def _per_step(checkpoint: Checkpoint, length: int) -> list[bool]:
    """Which outputs have a row per step: those whose second dimension follows the sequence's length."""
    try:
        whole = evaluate(checkpoint.module, _drawn(checkpoint, length))
        shorter = evaluate(checkpoint.module, _drawn(checkpoint, length - 1))
    except FORWARD_ERRORS as error:
        raise SignatureError(
            f"stepwise: the network does not take sequences of {length} and of {length - 1} steps: "
            f"{first_line(error)}"
        ) from error
    return [
        long.dim() > 1 and long.shape[1] == length and short.shape[1] == length - 1
        for long, short in zip(whole, shorter, strict=True)
    ]


def _rewritten(module: fx.GraphModule, per_step: Sequence[bool]) -> tuple[fx.GraphModule, list[_State]]:
    graph = module.graph
    layers = [
        (node, layer)
        for node in graph.nodes
        if node.op == "call_module" and isinstance(layer := module.get_submodule(str(node.target)), LAYERS)
    ]
    if not layers:
        raise SignatureError("stepwise: the network has no recurrent layer (nn.LSTM, nn.GRU or nn.RNN)")
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node in placeholders:
        with graph.inserting_after(placeholders[-1]):
            sequence = graph.call_method("unsqueeze", (node, 1))
        node.replace_all_uses_with(sequence, lambda user, made=sequence: user is not made)
    states: list[_State] = []
    nexts: list[fx.Node] = []
    last = placeholders[-1]
    for node, layer in layers:
        if layer.bidirectional:
            raise SignatureError(
                f"stepwise: layer {node.target!r} is bidirectional: it reads the sequence from its end, too, "
                f"and has no result before the last step is known"
            )
        own = _states(layer, re.sub(r"\W", "_", node.name))
        for state in own:
            with graph.inserting_after(last):
                last = graph.placeholder(state.name)
        given = [item for item in graph.nodes if item.op == "placeholder"][-len(own) :]
        nexts += _carried(graph, node, given)
        states += own
    output = graph.output_node()
    results = output.args[0]
    flat = list(results) if isinstance(results, tuple | list) else [results]
    with graph.inserting_before(output):
        flat = [
            graph.call_method("squeeze", (value, 1)) if long else value
            for value, long in zip(flat, per_step, strict=True)
        ]
    output.args = ((*flat, *nexts),)
    graph.lint()
    return fx.GraphModule(module, graph, class_name="Stepwise"), states


def _states(layer: nn.RNNBase, name: str) -> list[_State]:
    dtype = str(layer.weight_ih_l0.dtype).removeprefix("torch.")
    hidden = layer.proj_size or layer.hidden_size
    found = [_State(f"{name}_h", (layer.num_layers, hidden), dtype)]
    if isinstance(layer, nn.LSTM):
        found.append(_State(f"{name}_c", (layer.num_layers, layer.hidden_size), dtype))
    return found


def _carried(graph: fx.Graph, layer: fx.Node, given: Sequence[fx.Node]) -> list[fx.Node]:
    """Give a layer its state from the placeholders `given`; returns the nodes of its next state."""
    with graph.inserting_before(layer):
        turned = [graph.call_method("transpose", (node, 0, 1)) for node in given]
    layer.args = (layer.args[0], tuple(turned) if len(turned) > 1 else turned[0])
    layer.kwargs = {}
    with graph.inserting_before(graph.output_node()):
        last = graph.call_function(operator.getitem, (layer, 1))
        tensors = [graph.call_function(operator.getitem, (last, i)) for i in range(len(given))]
        tensors = tensors if len(given) > 1 else [last]
        return [graph.call_method("transpose", (node, 0, 1)) for node in tensors]


def _prove(
    checkpoint: Checkpoint,
    module: nn.Module,
    states: Sequence[TensorSpec],
    per_step: Sequence[bool],
    length: int,
) -> None:
    """Raise SignatureError unless stepping gives what whole sequences give, from one step to all of them."""
    whole, stepped = (copy.deepcopy(item).double() for item in (checkpoint.module, module))
    values = [value.double() if value.is_floating_point() else value for value in _drawn(checkpoint, length)]
    state = [torch.zeros((STREAMS, *spec.shape), dtype=torch.float64) for spec in states]
    for step in range(length):
        try:
            found = evaluate(stepped, [*(value[:, step] for value in values), *state])
            wanted = evaluate(whole, [value[:, : step + 1] for value in values])
        except FORWARD_ERRORS as error:
            raise SignatureError(
                f"stepwise: step {step + 1} cannot be compared: {first_line(error)}"
            ) from error
        state = list(found[len(per_step) :])
        for place, long in enumerate(per_step):
            right = wanted[place][:, step] if long else wanted[place]
            off = float((found[place] - right).abs().max()) if found[place].shape == right.shape else None
            if off is None or not off <= TOLERANCE * float(right.abs().max().clamp(min=1e-30)):
                raise SignatureError(
                    f"stepwise: after {step + 1} step(s) output {place} is not that of the whole sequence: "
                    f"something beside the recurrent layers depends on other steps (attention, positions, a "
                    f"convolution), so that this agent cannot be called step by step"
                )
