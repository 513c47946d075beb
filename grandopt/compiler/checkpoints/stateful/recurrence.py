"""The declared recurrent state of a network, brought to the form that artifacts have.

An artifact takes and gives every tensor of the state by itself, the batch first. Networks often have it
otherwise: `nn.LSTM` has the layers first, and takes and gives a tuple (h, c).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn
from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.config.schema import AgentConfig, StateConfig
from grandopt.errors import SignatureError, first_line
from grandopt.signature import StateTensor, TensorSpec


class FlatState(torch.nn.Module):
    """A network whose state comes and goes flat and with the batch first.

    `input_axes` and `output_axes` say where the network itself has the batch, per tensor in order. The last
    `grouped` inputs are handed to it as one tuple, and tuples within its result are laid open.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        input_axes: Sequence[int],
        output_axes: Sequence[int] = (),
        grouped: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_axes = tuple(input_axes)
        self.output_axes = tuple(output_axes)
        self.grouped = grouped
        self.training = network.training  # not by eval(), which programs from files refuse

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Tensors [B, *shape] in; a tensor, or a flat tuple of tensors, out."""
        given: list[Any] = [
            value.movedim(0, axis) if axis else value
            for value, axis in zip(inputs, self.input_axes, strict=True)
        ]
        if self.grouped:
            given[-self.grouped :] = [tuple(given[-self.grouped :])]
        outputs = tuple(tensors_of(self.network(*given)))
        axes = self.output_axes or (0,) * len(outputs)
        outputs = tuple(
            value.movedim(axis, 0) if axis else value for value, axis in zip(outputs, axes, strict=True)
        )
        return outputs if len(outputs) > 1 else outputs[0]


def recurrent(checkpoint: Checkpoint, agent: AgentConfig) -> Checkpoint:
    """The checkpoint with the recurrent state that the configuration declares, or asks to be found.

    Raises SignatureError when it does not fit the network.
    """
    if agent.stepwise:
        from grandopt.compiler.checkpoints.stateful.stepwise import stepwise

        return stepwise(checkpoint)
    return with_state(checkpoint, agent.state, agent.outputs)


def with_state(
    checkpoint: Checkpoint, state: Mapping[str, StateConfig], names: Sequence[str] = ()
) -> Checkpoint:
    """The checkpoint with its recurrent state in the contract and its outputs named.

    `state` maps inputs to the outputs with their next values. `names` are those of all outputs, in order;
    without them the network gives its new state last, in the order of `state`, unless the state uses the
    names that outputs have by default (`output_0`, …). A network that takes the state as one tuple gets it
    as one. Raises SignatureError when names or shapes do not fit, or when the network does not run so.
    """
    if not state and not names:
        return checkpoint
    known = [spec.name for spec in checkpoint.inputs]
    for name in state:
        if name not in known:
            raise SignatureError(f"state {name!r}: there is no such input; the inputs are {', '.join(known)}")
    module, count = _flattened(checkpoint, state)
    outputs = tuple(names) or _named(count, [item.output for item in state.values()])
    if len(outputs) != count:
        raise SignatureError(f"{len(outputs)} output names for {count} output(s): {', '.join(outputs)}")
    axes = {item.output: item.batch_axis for item in state.values()}
    missing = [name for name in axes if name not in outputs]
    if missing:
        raise SignatureError(
            f"state: there is no output {missing[0]!r}; the outputs are {', '.join(outputs)}"
        )
    if isinstance(module, FlatState):
        module.output_axes = tuple(axes.get(name, 0) for name in outputs)
    tensors = tuple(StateTensor(name, item.output, _initial(item.initial)) for name, item in state.items())
    return replace(
        checkpoint,
        module=module,
        contract=replace(checkpoint.contract, state=tensors),
        output_names=outputs,
    )


def _flattened(checkpoint: Checkpoint, state: Mapping[str, StateConfig]) -> tuple[torch.nn.Module, int]:
    """The network, wrapped where it has its state in another form, and how many outputs it gives."""
    module, inputs = checkpoint.module, checkpoint.inputs
    axes = [state[spec.name].batch_axis if spec.name in state else 0 for spec in inputs]
    for spec, axis in zip(inputs, axes, strict=True):
        if axis > len(spec.shape):
            raise SignatureError(
                f"state {spec.name!r}: batch_axis {axis} is beyond its {len(spec.shape) + 1} dimension(s)"
            )
    grouped = _grouped(module, inputs, state)
    if any(axes) or grouped:
        _require_code(checkpoint)
    flat = FlatState(module, axes, grouped=grouped)
    example = drawn(inputs, EXAMPLE_BATCH, seed=0)
    given = [value.movedim(0, axis) for value, axis in zip(example, axes, strict=True)]
    try:
        with torch.no_grad():
            direct = None if grouped else module(*given)
            stepped = flat(*example) if direct is None else None
    except FORWARD_ERRORS as error:
        shapes = ", ".join(
            f"{spec.name} {list(value.shape)}" for spec, value in zip(inputs, given, strict=True)
        )
        raise SignatureError(f"the network does not take {shapes}: {first_line(error)}") from error
    outputs = _as_list(stepped) if direct is None else list(tensors_of(direct))
    if direct is not None and len(_as_list(direct)) != len(outputs):
        _require_code(checkpoint)
    elif not any(axes) and not grouped:
        return module, len(outputs)
    return flat, len(outputs)


def _require_code(checkpoint: Checkpoint) -> None:
    """Raise SignatureError for a network that nothing can be wrapped around."""
    if checkpoint.exported is not None or isinstance(checkpoint.module, torch.jit.ScriptModule):
        raise SignatureError(
            "an exported program or a TorchScript archive must take and give its state tensor by tensor, "
            "each with the batch first; export it so"
        )


def _grouped(module: torch.nn.Module, inputs: Sequence[TensorSpec], state: Mapping[str, StateConfig]) -> int:
    """How many inputs go in as one tuple: those of the state, where `forward` has one argument for them."""
    if len(state) < 2 or isinstance(module, torch.jit.ScriptModule | torch.fx.GraphModule):
        return 0
    parameters = inspect.signature(module.forward).parameters.values()
    places = [item for item in parameters if item.kind is not item.KEYWORD_ONLY]
    if any(item.kind is item.VAR_POSITIONAL for item in places):
        return 0
    if len(places) != len(inputs) - len(state) + 1:
        return 0
    last = [spec.name for spec in inputs[-len(state) :]]
    if set(last) != set(state):
        raise SignatureError(
            f"the network takes its state as one tuple after the observations; declare the inputs in that "
            f"order, the last ones being {', '.join(state)}"
        )
    return len(state)


def _named(count: int, wanted: Sequence[str]) -> tuple[str, ...]:
    usual = [f"output_{place}" for place in range(count)]
    if set(wanted) <= set(usual):
        return tuple(usual)
    return (*usual[: max(0, count - len(wanted))], *wanted)


def tensors_of(result: Any) -> Iterator[torch.Tensor]:
    """The tensors in what a network returned, in order; raises TypeError for anything else in it."""
    if isinstance(result, tuple | list):
        for item in result:
            yield from tensors_of(item)
    elif isinstance(result, torch.Tensor):
        yield result
    else:
        raise TypeError(f"the network must return tensors or tuples of them, got a {type(result).__name__}")


def _as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _initial(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value
