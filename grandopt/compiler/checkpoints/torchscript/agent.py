"""From an open archive to an agent: as it is where it can be called so, laid open where it cannot."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.dtypes import Bfloat16Boundary
from grandopt.compiler.checkpoints.settings import (
    EXAMPLE_BATCH,
    described,
    drawn,
    outputs_of,
)
from grandopt.compiler.checkpoints.stateful.held import Held, require_holdable
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.torchscript.called import Archive, memory
from grandopt.compiler.checkpoints.torchscript.laid_open import Answer, laid_open
from grandopt.compiler.checkpoints.torchscript.original import Call
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.compiler.scripted.forward import attribute, other_methods, silenced
from grandopt.config.schema import AgentConfig
from grandopt.errors import CaptureError, CheckpointError, GrandoptError, SignatureError, first_line
from grandopt.signature import StateTensor, TensorSpec

ELSEWHERE = re.compile(r"Could not run '([\w:.]+)' with arguments from the 'CPU' backend")
"""What torch says of an operator without a kernel for the CPU, such as the fused cell of a GRU."""

RESETS = ("reset", "reset_memory")
"""The methods by which archives begin an episode."""


def as_agent(checkpoint: Checkpoint, archive: Archive, agent: AgentConfig, path: Path) -> Checkpoint:
    """The checkpoint whose module is the archive (or has it inside) as one that is called as agents are.

    Raises CheckpointError, and SignatureError for a state that does not fit, where there is none.
    """
    found: Checkpoint | Exception | None = None
    if archive.call.plain and not archive.kept:
        found = _as_it_is(checkpoint, agent, path)
        if isinstance(found, Checkpoint) and _rows_lead(found):
            return found
    try:
        return _laid_open(checkpoint, archive, agent, path)
    except CaptureError as error:
        if isinstance(found, Checkpoint):
            return found
        _refuse(checkpoint, found, path)
        what = "keeps state in itself" if archive.kept else "takes or gives tensors in containers"
        raise CheckpointError(
            f"{path}: the network {what}, and cannot be laid open: {error}; export a wrapper that takes and "
            f"gives tensors one by one, its state among them"
        ) from error
    except FORWARD_ERRORS as error:
        if isinstance(found, Checkpoint):
            return found
        _refuse(checkpoint, found, path)
        raise CheckpointError(
            f"{path}: the network does not take {described(checkpoint.inputs, batch=1)}: {first_line(error)}"
        ) from error


def _refuse(checkpoint: Checkpoint, problem: Exception | None, path: Path) -> None:
    """Raise what an archive that is called as it is was refused for, if it was."""
    if isinstance(problem, GrandoptError):
        raise problem
    if problem is not None:
        raise CheckpointError(f"{path}: {_why(checkpoint, problem)}") from problem


def _as_it_is(checkpoint: Checkpoint, agent: AgentConfig, path: Path) -> Checkpoint | Exception:
    """The checkpoint after a trial call, or what came of that where laying the archive open may mend it."""
    network, inputs = checkpoint.module, checkpoint.inputs
    try:
        if agent.state or agent.outputs or agent.stepwise:  # `recurrent` tries it, as it is declared
            return recurrent(replace(checkpoint, module=_scripted(network, inputs)), agent)
        result = first_call(lambda: network(*drawn(inputs, EXAMPLE_BATCH, seed=0)), path, trust=agent.trust)
    except (*FORWARD_ERRORS, SignatureError) as error:
        return error
    try:
        outputs_of(result, path)
    except CheckpointError as error:
        return error
    return replace(checkpoint, module=_scripted(network, inputs))


def _rows_lead(checkpoint: Checkpoint) -> bool:
    """Whether the outputs of a batch of 1, which a `squeeze` may remove, have it in front."""
    try:
        return all(value.dim() > 0 and value.shape[0] == 1 for value in _answer(checkpoint, 1))
    except FORWARD_ERRORS:
        return False


def _answer(checkpoint: Checkpoint, batch: int) -> tuple[torch.Tensor, ...]:
    return evaluate(checkpoint.module, drawn(checkpoint.inputs, batch, seed=0))


def _laid_open(checkpoint: Checkpoint, archive: Archive, agent: AgentConfig, path: Path) -> Checkpoint:
    """The checkpoint of the archive with its state and its containers laid open; raises like `laid_open`."""
    if agent.stepwise:
        raise SignatureError("stepwise: a TorchScript archive cannot be rewritten; give the network in code")
    twin = silenced(archive.copied(archive.module))
    held = _held(twin, archive, path, trust=agent.trust)
    narrow = checkpoint.module.inputs if isinstance(checkpoint.module, Bfloat16Boundary) else None
    inputs = checkpoint.inputs
    first: Exception | None = None
    for axes in _axes(archive, inputs, agent):
        call = Call(archive.call, inputs, axes, narrow)
        try:
            opened = partial(laid_open, archive.module, twin, call, held)
            answer = first_call(opened, path, trust=agent.trust)
            return _assembled(checkpoint, archive, answer, agent)
        except FORWARD_ERRORS as error:
            first = first or error
    assert first is not None
    raise first


def _axes(archive: Archive, inputs: Sequence[TensorSpec], agent: AgentConfig) -> Iterator[tuple[int, ...]]:
    """Where the archive may have the batch in its inputs: as declared, layers first, or first everywhere."""
    shapes = set(memory(archive.module))
    layers_first = [int(place > 0 and spec.shape in shapes) for place, spec in enumerate(inputs)]
    declared = {name: config.batch_axis for name, config in agent.state.items()}
    ways = (layers_first, [0] * len(inputs))
    known = (
        tuple(declared.get(spec.name, axis) for spec, axis in zip(inputs, way, strict=True)) for way in ways
    )
    yield from dict.fromkeys(known)


def _held(twin: torch.jit.ScriptModule, archive: Archive, path: Path, *, trust: bool) -> tuple[Held, ...]:
    """What the archive keeps, with the values that it begins an episode with."""
    given = {name: attribute(twin, name).clone() for name in archive.kept}
    method = _reset(twin) if archive.kept else None
    if method is not None:
        try:
            first_call(getattr(twin, method), path, trust=trust)
        except FORWARD_ERRORS as error:
            raise CheckpointError(f"{path}: its method {method!r} fails: {first_line(error)}") from error
    values = {name: attribute(twin, name).clone() for name in archive.kept}
    for name, value in values.items():
        require_holdable(name, value, str(path))
        if value.shape != given[name].shape:
            raise CheckpointError(
                f"{path}: forward keeps {name!r}, which is {list(given[name].shape)} in the file and "
                f"{list(value.shape)} after {method}(); a state has one shape"
            )
    return tuple(Held(name, value) for name, value in values.items())


def _reset(module: torch.jit.ScriptModule) -> str | None:
    """The method that begins an episode, if there is one that takes nothing."""
    for name in RESETS:
        if name in other_methods(module):
            arguments = getattr(module, name).schema.arguments[1:]
            if all(argument.has_default_value() for argument in arguments):
                return name
    return None


def _assembled(checkpoint: Checkpoint, archive: Archive, answer: Answer, agent: AgentConfig) -> Checkpoint:
    """The checkpoint of a laid-open archive: its state in the contract, and what was found in its source."""
    held = [item.spec for item in answer.held]
    known = [spec.name for spec in checkpoint.inputs]
    pairs = dict(answer.pairs)
    names = _output_names(answer, agent)
    places = {spec.name: len(answer.names) + place for place, spec in enumerate(held)} | pairs
    unknown = [name for name in agent.state if name not in (*known, *places)]
    if unknown:
        raise SignatureError(
            f"state {unknown[0]!r}: there is no such input; the inputs are {', '.join([*known, *places])}"
        )
    first = {item.path: item.tensor.initial for item in answer.held}
    state = []
    for name in (*(name for name in known if name in pairs or name in agent.state), *first):
        config = agent.state.get(name)
        output = names[places[name]] if config is None or name in places else config.output
        if config is not None and config.batch_axis and name not in places:
            raise SignatureError(
                f"state {name!r}: no recurrent layer gives its next value; an archive must take and give it "
                f"with the batch first; export it so"
            )
        initial: Any = first.get(name, 0.0)
        if config is not None and "initial" in config.model_fields_set:
            initial = config.initial
        state.append(StateTensor(name, output, tuple(initial) if isinstance(initial, list) else initial))
    said = {} if answer.batch is None else {"batch": answer.batch}
    if answer.held:
        method = _reset(archive.module)
        begins = "the values in the file" if method is None else f"what {method}() sets"
        said["state"] = f"{', '.join(spec.name for spec in held)}, written by forward; begins with {begins}"
    if pairs:
        said["recurrent"] = f"{', '.join(pairs)}, the state of recurrent layers"
    return replace(
        checkpoint,
        module=answer.module,
        exported=answer.program,
        inputs=(*checkpoint.inputs, *held),
        source=checkpoint.source.noting(**said),
        contract=replace(checkpoint.contract, state=tuple(state)),
        output_names=names,
    )


def _output_names(answer: Answer, agent: AgentConfig) -> tuple[str, ...]:
    """The names of all outputs: those of the results (`output_0`, `action`), then those of the next state.

    `outputs` of the configuration names the results, or those of them that are no state.
    """
    nexts = {place: f"{name}_next" for name, place in answer.pairs}
    nexts |= {place: agent.state[name].output for name, place in answer.pairs if name in agent.state}
    names = [
        nexts.get(place) or (f"output_{name or 0}" if name[:1].isdigit() or not name else name)
        for place, name in enumerate(answer.names)
    ]
    visible = [place for place in range(len(names)) if place not in nexts]
    if agent.outputs:
        chosen = {len(names): list(range(len(names))), len(visible): visible}.get(len(agent.outputs))
        if chosen is None:
            raise SignatureError(
                f"{len(agent.outputs)} output names for {len(names)} output(s): {', '.join(agent.outputs)}"
            )
        for place, name in zip(chosen, agent.outputs, strict=True):
            names[place] = name
    return (*names, *(f"{item.path}_next" for item in answer.held))


def _scripted(network: torch.nn.Module, inputs: tuple[TensorSpec, ...]) -> torch.jit.ScriptModule:
    """An archive as it is; one with another boundary around it as an archive again."""
    if isinstance(network, torch.jit.ScriptModule):
        return network
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(
            network, drawn(inputs, EXAMPLE_BATCH, seed=0), check_trace=False
        )
    return traced.eval()


def _why(checkpoint: Checkpoint, error: Exception) -> str:
    """Why the network does not take a batch of its inputs: the batch, if it takes them otherwise."""
    cause = first_line(error)
    elsewhere = ELSEWHERE.search(cause)
    if elsewhere is not None:
        return (
            f"the archive calls {elsewhere[1]}, which no CPU has: it was traced on a GPU; trace the network "
            f"again with network and example on the CPU"
        )
    module, inputs = checkpoint.module, checkpoint.inputs
    single = drawn(inputs, 1, seed=0)
    first, *others = drawn(inputs, EXAMPLE_BATCH, seed=0)
    if others and _takes(module, (first, *(value.transpose(0, 1) for value in others if value.dim() > 1))):
        names = ", ".join(spec.name for spec in inputs[1:])
        return (
            f"the network takes {names} with the batch in the second dimension ({cause}); export it with the "
            f"batch in front of every input and output"
        )
    if _takes(module, single):
        return (
            f"the network takes a batch of 1 but not of {EXAMPLE_BATCH} ({cause}); its batch size is "
            f"built in; export it for any batch"
        )
    if _takes(module, tuple(value[0] for value in single)):
        return (
            f"the network takes single observations, without a batch dimension, and no batch of them "
            f"({cause}); export it with the batch in front of every input and output"
        )
    return f"the network does not take {described(inputs)}: {cause}"


def _takes(module: torch.nn.Module, values: tuple[torch.Tensor, ...]) -> bool:
    try:
        with torch.no_grad():
            module(*values)
    except FORWARD_ERRORS:
        return False
    return True
