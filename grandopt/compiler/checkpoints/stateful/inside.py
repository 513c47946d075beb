"""Networks in code, and exported programs, whose `forward` writes buffers: that is their state."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn
from grandopt.compiler.checkpoints.stateful.held import (
    Held,
    Tensors,
    agrees,
    placed,
    require_holdable,
)
from grandopt.compiler.checkpoints.stateful.recurrence import FlatState, tensors_of
from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.config.schema import AgentConfig
from grandopt.errors import SignatureError

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operators whose kernels read beyond the end of a state of another batch than the input's."""


class StateOutside(torch.nn.Module):
    """A network whose buffers `paths` are its last inputs, and their next values its last outputs."""

    def __init__(self, network: torch.nn.Module, held: Sequence[Held]) -> None:
        super().__init__()
        self.network = network
        self.paths = tuple(item.path for item in held)
        self.training = network.training  # not by eval(), which programs from files refuse

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        """The network's own inputs, then the state; its results, laid open, then the next state."""
        count = len(inputs) - len(self.paths)
        # The network may write into them, and they are the caller's.
        own = {path: value.clone() for path, value in zip(self.paths, inputs[count:], strict=True)}
        result = torch.func.functional_call(self.network, own, inputs[:count])
        return (*tensors_of(result), *(own[path] for path in self.paths))


def with_state_outside(checkpoint: Checkpoint, agent: AgentConfig, where: str) -> Checkpoint:
    """The checkpoint with the buffers that its network writes as state; itself if it writes none.

    Raises CheckpointError, `where` in front, for a buffer that no state can be, and SignatureError for a
    network that is another one with its state given from outside, or that has a declared state besides.
    """
    held = _written(checkpoint, where)
    if not held:
        return checkpoint
    names = ", ".join(item.path for item in held)
    if agent.state or agent.stepwise:
        raise SignatureError(
            f"forward writes {names}: that is the state already; remove 'state' and 'stepwise'"
        )
    graph = _has_layers(checkpoint.module)
    for places in placed(held):
        if graph and not all(item.axis == (1 if item.value.dim() == 3 else 0) for item in places):
            continue
        try:
            found = _placed(checkpoint, places)
        except FORWARD_ERRORS:
            continue
        if found is not None:
            return replace(found, output_names=_names(found, len(held), agent, names))
    raise SignatureError(
        f"forward writes {names} at each call, for one stream alone: what it remembers could not be given "
        f"from outside for several; take it as an input, give the next one as an output, and declare the two "
        f"with 'state'"
    )


def _written(checkpoint: Checkpoint, where: str) -> list[Held]:
    """The buffers that a call changes, with their values before it."""
    twin = _copy(checkpoint.module)
    before = dict(twin.named_buffers())
    values = {path: buffer.clone() for path, buffer in before.items()}
    for batch in (1,) if _has_layers(twin) else (EXAMPLE_BATCH, 1):
        try:
            with torch.no_grad():
                twin(*drawn(checkpoint.inputs, batch, seed=0))
            break
        except FORWARD_ERRORS:
            continue
    held = []
    for path, buffer in twin.named_buffers():
        if path in before and not (buffer is before[path] and torch.equal(buffer, values[path])):
            require_holdable(path, values[path], where)
            held.append(Held(path, values[path]))
    return held


def _placed(checkpoint: Checkpoint, held: tuple[Held, ...]) -> Checkpoint | None:
    """The checkpoint with the batch of its state in these places, if it is the same network; else None."""
    axes = [item.axis or 0 for item in held]
    none = [0] * len(checkpoint.inputs)
    outside = StateOutside(checkpoint.module, held)
    one = [value[:1] for value in drawn(checkpoint.inputs, 1, seed=0)]
    with torch.no_grad():
        results = len(outside(*one, *(item.value for item in held))) - len(held)
    module = FlatState(outside, [*none, *axes], [*[0] * results, *axes])
    twin = _copy(checkpoint.module)

    def original(row: Sequence[torch.Tensor]) -> Tensors:
        count = len(checkpoint.inputs)
        for item, value in zip(held, row[count:], strict=True):
            owner, name = _owner(twin, item.path)
            owner._buffers[name] = (value if item.axis is None else value.unsqueeze(item.axis)).clone()
        with torch.no_grad():
            result = tuple(tensors_of(twin(*(value.unsqueeze(0) for value in row[:count]))))
        buffers = dict(twin.named_buffers())
        return (*result, *(buffers[item.path].clone() for item in held))

    if not agrees(module, original, checkpoint.inputs, held):
        return None
    tensors = tuple(item.tensor for item in held)
    return replace(
        checkpoint,
        module=module,
        inputs=(*checkpoint.inputs, *(item.spec for item in held)),
        contract=replace(checkpoint.contract, state=tensors),
        source=checkpoint.source.noting(
            state=f"{', '.join(item.path for item in held)}, written by forward; begins with their values"
        ),
        output_names=(
            *(f"output_{place}" for place in range(results)),
            *(tensor.output for tensor in tensors),
        ),
        exported=None,
    )


def _names(checkpoint: Checkpoint, held: int, agent: AgentConfig, paths: str) -> tuple[str, ...]:
    """The names of the outputs, those of the results as they are configured."""
    names = checkpoint.output_names
    if agent.outputs and len(agent.outputs) != len(names) - held:
        raise SignatureError(
            f"{len(agent.outputs)} output names for {len(names) - held} output(s) beside the state "
            f"({paths}): {', '.join(agent.outputs)}"
        )
    return (*(agent.outputs or names[: len(names) - held]), *names[len(names) - held :])


def _copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a network, or of a program, over whose copies torch warns of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(module)


def _owner(module: torch.nn.Module, path: str) -> tuple[torch.nn.Module, str]:
    parent, _, name = path.rpartition(".")
    return module.get_submodule(parent), name


def _has_layers(module: torch.nn.Module) -> bool:
    """Whether a graph calls recurrent layers itself, without the checks of torch's modules."""
    return any(
        str(getattr(node.target, "_schema", node.target)).startswith(
            tuple(f"aten::{name}." for name in LAYERS)
        )
        for part in module.modules()
        if isinstance(part, torch.fx.GraphModule)
        for node in part.graph.nodes
        if node.op == "call_function"
    )
